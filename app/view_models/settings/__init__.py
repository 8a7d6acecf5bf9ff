"""The window's settings, without Qt: forms, presets, preferences."""
