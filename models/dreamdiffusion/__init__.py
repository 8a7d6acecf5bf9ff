"""DreamDiffusion: EEG to pictures through Stable Diffusion 1.5. Bai et al., arXiv 2306.16934."""
