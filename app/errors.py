"""The errors of the application.

PhospheneError
└── AppError
    ├── FolderError      a session folder that cannot be used
    └── DecoderError     the decoder process cannot be started or kept
"""

from pipeline.errors import PhospheneError


class AppError(PhospheneError):
    """Base of the application's errors; one sentence for the user."""


class FolderError(AppError):
    """A session folder is in use, holds a session already, or cannot be written."""


class DecoderError(AppError):
    """The decoder process cannot be started, or failed too often."""
