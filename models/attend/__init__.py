"""Which of many flickering pictures somebody attends to: reconvolution CCA that needs no training.

Owns the response model, the evidence of a look, what looks teach about a person, and when a look
has said enough. Knows nothing of LSL, windows or files.
"""
