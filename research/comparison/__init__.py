"""The published EEG systems at reduced size on the virtual pool, beside the embedded default."""
