"""The errors of the core, as a tree.

Owns every exception that `pipeline` raises; knows nothing of who catches them.

    PhospheneError                anything that a user can be told in one line
    └── PipelineError
        ├── ShapeError            an array whose shape is not the one promised
        ├── InfoError             labels, units, rates or types that cannot be used
        ├── ConfigurationError    settings that contradict each other or the stream
        ├── TransitionError       a session asked to do what its phase forbids
        └── GalleryError          a stimulus, a ranking or a table that cannot be used

A message names what was given, what was expected and what to do, in one line.
"""


class PhospheneError(Exception):
    """Base of every error that is shown to the user as one sentence."""


class PipelineError(PhospheneError):
    """Base of the errors of the core."""


class ShapeError(PipelineError):
    """An array does not have the promised shape or dtype."""


class InfoError(PipelineError):
    """Channel labels, units, types or rates cannot be used as they are."""


class ConfigurationError(PipelineError):
    """Settings contradict each other or the stream they are applied to."""


class TransitionError(PipelineError):
    """A session was asked for something that its phase does not allow."""


class GalleryError(PipelineError):
    """A stimulus is not in the gallery, or its table does not fit."""
