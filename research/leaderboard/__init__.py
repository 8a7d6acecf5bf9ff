"""Every system and adapter that ships or is trained at reduced size, in one table."""
