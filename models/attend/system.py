"""The description of attending as a system."""

from __future__ import annotations

from models.api import SystemDescriptor
from models.attend.encoder import SYSTEM_NAME
from pipeline.gallery import SPACE

SYSTEM = SystemDescriptor(
    name=SYSTEM_NAME,
    title="Which of many pictures is attended to (noise-tagged, or flashed)",
    modality="evidence",
    input_shape="(n_pictures, n_steps), nats against none of them",
    target_space="vectors of the gallery's pictures, and mixtures of them",
    space=SPACE,
    generator="the shipped generator, or any of the vectors' space",
    encoder="models.attend.encoder:load_encoder",
    drawn_by="embedded",
    preset="attend",
    reference="Thielen et al. 2021, https://doi.org/10.1088/1741-2552/abecef",
    notes="`phosphene attend` gathers the evidence from EEG; it reads attention, no imagination.",
)
