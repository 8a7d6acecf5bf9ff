"""MindEye: announced, not implemented yet."""
