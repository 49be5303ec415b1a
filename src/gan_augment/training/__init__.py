"""Training: code shared by all trainings."""
