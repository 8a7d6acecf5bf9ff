"""The warning before any flicker, and its answer: nothing flickers without one.

Owns the words, the two questions and the proof that they were answered. A window shows them; a grid
takes no other proof. There is no option and no setting that answers in somebody's place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

TITLE: Final = "Flicker can set off seizures and migraine"
WARNING: Final = (
    "The pictures of this mode flicker up to 30 times a second, or light up one after the other, "
    "about seven times a second. Flicker like this can set off an "
    "epileptic seizure in people with photosensitive epilepsy, in some of them without any seizure "
    "before, and migraine in others.\n\n"
    "Do not look at it, and let nobody else look at it, if you or somebody in your family has or "
    "had epilepsy or seizures, if flicker ever gave you migraine, if you are overtired or have "
    "drunk alcohol, or if you do not know.\n\n"
    "Stop at once at dizziness, nausea, twitching, altered sight or a headache: Esc ends the "
    "flicker within one frame of the screen. Do not be alone."
)
REFUSE: Final = "One of these holds for somebody who can see the screen, or I do not know"
ACCEPT: Final = "None of these holds for anybody who can see the screen"
UNDERSTOOD: Final = "I know that Esc stops the flicker"


@dataclass(frozen=True, slots=True)
class Answered:
    """Proof that a person answered the warning; only `WarningModel.accept` makes one.

    Attributes
    ----------
    at : str
        When, ISO 8601 with the zone.
    """

    at: str
    key: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.key is not _KEY:
            raise WarningNotAnsweredError(
                "A grid was to flicker without an answer to the warning about epilepsy and "
                "migraine, expected one by the person in front of the screen."
            )

    @property
    def record(self) -> dict[str, str]:
        """For the session folder."""
        return {"warning_answered": self.at, "warning_answer": ACCEPT}


class WarningNotAnsweredError(RuntimeError):
    """Something was to flicker and nobody had answered the warning."""


_KEY: Final = object()


class WarningModel:
    """The warning's two questions; nothing is chosen beforehand."""

    def __init__(self) -> None:
        self.accepts: bool | None = None
        """Which of the two statements was chosen: None neither, False `REFUSE`, True `ACCEPT`."""
        self.has_understood = False

    @property
    def can_begin(self) -> bool:
        """Whether both were answered so that flicker may begin."""
        return self.accepts is True and self.has_understood

    def accept(self) -> Answered:
        """Return the proof.

        Raises
        ------
        WarningNotAnsweredError
            It was not answered, or with `REFUSE`.
        """
        if not self.can_begin:
            raise WarningNotAnsweredError("The warning was not answered: nothing flickers.")
        return Answered(datetime.now(UTC).astimezone().isoformat(timespec="seconds"), _KEY)
