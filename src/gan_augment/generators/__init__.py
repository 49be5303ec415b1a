"""Generators: how they are trained and sampled."""
