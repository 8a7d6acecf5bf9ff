"""Whose folder DreamDiffusion's is."""

from models.latent_diffusion.folder import Home

HOME = Home(
    "dreamdiffusion",
    "DreamDiffusion",
    "its authors (github.com/bbaaii/DreamDiffusion), then `phosphene import dreamdiffusion "
    "generation/checkpoint.pth --out FOLDER`",
)
