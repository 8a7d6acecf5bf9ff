"""THINGS-EEG2: its files, its epochs, its noise normalisation, as PyTorch-free arrays."""
