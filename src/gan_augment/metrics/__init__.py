"""Metrics: pure functions of labels, probabilities and images."""
