"""Frames of a stimulus window, without Qt: the screen's clock and a session's plan."""
