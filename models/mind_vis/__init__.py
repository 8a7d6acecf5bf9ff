"""MinD-Vis: announced, not implemented yet."""
