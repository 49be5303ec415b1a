"""Methods: ways to train a classifier, one per file."""
