"""MinD-Vis: masked modelling of fMRI, and a latent diffusion model that it conditions."""
