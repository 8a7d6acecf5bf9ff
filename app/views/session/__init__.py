"""A session in the window: pictures, history, one trial in detail, transport, status."""
