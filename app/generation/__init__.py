"""Pictures outside of a session: what `phosphene generate` reads, draws and writes."""
