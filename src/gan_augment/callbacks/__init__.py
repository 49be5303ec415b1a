"""What watches a training: guards, sample grids, progress."""
