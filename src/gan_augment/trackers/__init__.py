"""Trackers of experiments, such as MLflow: they get the trials of a study, as runs, from its records and curves."""
