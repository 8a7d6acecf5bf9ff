"""The audience's screen."""
