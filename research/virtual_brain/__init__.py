"""The tables that the virtual brain ships with."""
