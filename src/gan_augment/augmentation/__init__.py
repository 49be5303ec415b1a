"""The arms, and classical transforms in batches on the device."""
