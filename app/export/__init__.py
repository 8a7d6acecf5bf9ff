"""A session as other programs keep data: what was shown, and what was decoded, for BIDS.

Owns what `phosphene export` takes from a session's folder beside its recording.
"""
