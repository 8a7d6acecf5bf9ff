"""The errors of the application.

PhospheneError
└── AppError
    └── FolderError      a session folder that cannot be used
"""

from pipeline.errors import PhospheneError


class AppError(PhospheneError):
    """Base of the application's errors; one sentence for the user."""


class FolderError(AppError):
    """A session folder is in use, holds a session already, or cannot be written."""
