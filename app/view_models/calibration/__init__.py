"""Calibration as the window shows it, without Qt: its pages and the stored adapters."""
