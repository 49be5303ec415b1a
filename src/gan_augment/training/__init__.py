"""Training: what every training shares."""
