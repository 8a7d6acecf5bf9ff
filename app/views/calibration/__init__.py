"""Calibration, page by page, and the adapters that it left."""
