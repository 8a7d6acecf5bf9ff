"""Decoding for several headsets: who may ask, what is drawn together, and the engine behind it.

Owns the server's side of `app.runtime.remote`. Only `application` knows Ray; the rest is plain and
runs in a test without it.
"""
