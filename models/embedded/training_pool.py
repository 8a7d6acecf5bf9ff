"""What the EEG looked like that the encoder was trained on.

Owns the covariance of its training pool under any montage, which is what alignment brings a person
to. NumPy only; knows nothing of networks.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from configs.montages import AVERAGE
from pipeline.alignment import shrunk
from pipeline.values import Float64, read_only
from pipeline.virtual_brain.background import SENSOR_UV, alpha_mixing, background_mixing
from pipeline.virtual_brain.head import oriented, reference_matrix, table_leadfield
from pipeline.virtual_brain.subject import draw_subject

N_POOL = 40
"""Virtual people whose covariance is averaged; more change it by less than a percent."""


@lru_cache(maxsize=64)
def pool_covariance(ch_names: tuple[str, ...]) -> Float64:
    """Mean covariance of the encoder's training pool under a montage, average reference.

    Worked out from the virtual people's sources, not simulated: background, alpha and sensor
    noise; blinks and muscle bursts, which alignment turns down, are left out.

    Returns
    -------
    ndarray, shape (n_channels, n_channels), float64, microvolts squared
    """
    leadfield = table_leadfield(ch_names)
    referencing = reference_matrix(ch_names, AVERAGE)
    total = np.zeros((len(ch_names), len(ch_names)))
    for number in range(N_POOL):
        subject = draw_subject(number)
        field = oriented(leadfield, subject.orientations)
        brain = background_mixing(field, referencing, subject)
        alpha = alpha_mixing(field, referencing, subject)
        total += brain @ brain.T + alpha @ alpha.T
    white = SENSOR_UV**2 * referencing @ referencing.T
    return read_only(shrunk(total / N_POOL + white))
