"""Classical transforms for the classifier and differentiable ones for the discriminator, in batches on the device."""
