"""Extras: where the further images of a batch come from."""
