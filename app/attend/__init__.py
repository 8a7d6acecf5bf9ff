"""Attend: which of many flickering pictures somebody looks at, decided live and drawn.

Owns the session of looks. The evidence is `models.attend`'s, the grammar of the markers
`pipeline.looks`'s. Knows nothing of Qt.
"""
