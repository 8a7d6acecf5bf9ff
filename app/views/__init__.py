"""Qt widgets that draw models; nothing here decides anything."""
