"""Artefacts: what stages leave. Loading one needs no training code."""
