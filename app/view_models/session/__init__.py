"""A session as the window shows it, without Qt: its state, history, pictures, export."""
