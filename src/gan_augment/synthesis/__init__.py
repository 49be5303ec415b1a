"""Labelled images from a trained generator."""
