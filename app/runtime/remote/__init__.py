"""Decoding on another machine, behind the pipe that the spawned decoder answers.

Owns what crosses the wire, the connection, and going over to this machine and back. Knows nothing
of how a server decodes (`app.serving`).
"""
