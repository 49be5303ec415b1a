"""Records: what a trial leaves for its report. Nothing here imports torch."""
