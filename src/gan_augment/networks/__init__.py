"""Generators, discriminators and classifiers: plain modules that know nothing of training."""
