"""Everything that makes an LSL stream or reads one, and every file of recorded EEG."""
