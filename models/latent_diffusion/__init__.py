"""Double-conditioned latent diffusion on diffusers' classes, and the CompVis checkpoint layout."""
