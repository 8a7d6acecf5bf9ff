"""The small model family that Phosphene ships: real decoding and drawing, offline, on a laptop."""
