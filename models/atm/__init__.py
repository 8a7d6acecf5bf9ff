"""ATM-S and its ancestor NICE: EEG encoders, objectives, diffusion prior."""
