"""How the shipped weights, tables and figures were made.

Owns the training of the embedded weights, the comparison of the published systems, what adapters
gain, and the figures of the documentation: each module runs as `python -m research.FOLDER.NAME`
from a checkout. It is no part of the wheel: it may import every package, and none imports it.
"""
