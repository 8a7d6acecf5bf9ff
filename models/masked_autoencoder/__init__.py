"""The one-dimensional masked autoencoder that DreamDiffusion and MinD-Vis share."""

from models.masked_autoencoder.importing import config_of, import_autoencoder, import_encoder
from models.masked_autoencoder.network import MaskedAutoencoder, SignalEncoder
from models.masked_autoencoder.positions import resize_positions, sinusoidal_positions

__all__ = [
    "MaskedAutoencoder",
    "SignalEncoder",
    "config_of",
    "import_autoencoder",
    "import_encoder",
    "resize_positions",
    "sinusoidal_positions",
]
