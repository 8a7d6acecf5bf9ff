"""How good drawn pictures are, and whether the figures may be believed: files in, a page out."""
