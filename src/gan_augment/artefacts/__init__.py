"""Artefacts: what stages write. Loading one needs no training code."""
