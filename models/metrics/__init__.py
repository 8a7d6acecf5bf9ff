"""Measures of decoded pictures and vectors, each as its publication defines it, by its name."""
