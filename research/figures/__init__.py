"""Figures and tables of the documentation that come from real recordings.

Each module runs as `python -m research.figures.NAME`; nothing here is part of a session.
"""
