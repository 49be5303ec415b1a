"""Sources, image sets, splits, and batches on the device."""
