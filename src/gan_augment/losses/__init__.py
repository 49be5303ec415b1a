"""Adversarial losses: pure functions of logits. No networks, no Lightning."""
