"""Encoders: networks that learn features of images without labels. Each is a file of this folder."""
