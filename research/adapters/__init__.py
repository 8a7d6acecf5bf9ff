"""Measuring adapters on the virtual pool; nothing here runs in a session."""
