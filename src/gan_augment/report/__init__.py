"""The report: from the records of a study and nothing else. Nothing here imports torch."""
