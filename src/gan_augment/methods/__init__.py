"""Methods: ways to train a classifier, a file each."""
