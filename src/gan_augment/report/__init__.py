"""The report, made only from the records of a study. Nothing here imports torch."""
