"""How often the auditor finds planted leaks, and how often it is wrong."""
