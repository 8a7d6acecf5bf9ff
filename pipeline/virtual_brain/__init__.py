"""The virtual brain: dipoles, noise and evoked responses as pure, seeded functions.

Owns the physics that the virtual headset streams and that encoders are trained on. Knows nothing
of LSL, MNE, clocks or torch.
"""

from pipeline.virtual_brain.brain import VirtualBrain
from pipeline.virtual_brain.evoked import EvokedModel
from pipeline.virtual_brain.head import reference_labels, table_leadfield
from pipeline.virtual_brain.subject import N_FEATURES, Subject, draw_subject

__all__ = [
    "N_FEATURES",
    "EvokedModel",
    "Subject",
    "VirtualBrain",
    "draw_subject",
    "reference_labels",
    "table_leadfield",
]
