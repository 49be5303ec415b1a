"""Adversarial losses and penalties: pure functions of logits and gradients. No networks, no Lightning."""
