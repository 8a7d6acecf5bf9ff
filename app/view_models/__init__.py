"""What the window shows, as plain objects without Qt: the views poll them and paint."""
