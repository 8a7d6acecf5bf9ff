"""Contrast, Attend and Diffuse: announced, not implemented yet."""
