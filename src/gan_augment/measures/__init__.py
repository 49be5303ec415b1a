"""Measures: what is found out about a finished trial, a file each."""
