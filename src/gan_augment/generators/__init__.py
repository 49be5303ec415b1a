"""Generators: what makes images of a class, and how they are sampled."""
