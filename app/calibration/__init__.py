"""Calibration: from a person in front of a screen to an adapter that says what it is worth.

Owns the guided flow (signal check, choice, presentation, training, result, saving), its files and
its words. Knows nothing of Qt (the window watches `flow.Flow`) and nothing of how an adapter is
fitted (`models.adapters`, which runs in a process of its own).
"""
