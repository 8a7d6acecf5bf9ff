"""Millions of vectors on disk, and the ones that lie nearest to a decoded one."""
