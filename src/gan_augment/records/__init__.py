"""Records: the results that a trial stores for its report. Nothing here imports torch."""
