"""Several sessions as one set of pictures: what a system decoded of many recordings.

Owns which trials are in it, and whose and of which session each one is. How a session is read is
`app.evaluation.sets`'s; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from app.errors import AppError
from app.evaluation.sets import SessionPictures
from app.report.record import dig
from pipeline.values import Uint8


class JoinedSessions:
    """The pictures of several sessions, one set.

    Parameters
    ----------
    name : str
        What they have in common.
    sessions : sequence of SessionPictures
        In order.

    Attributes
    ----------
    groups : mapping of str to tuple of str
        `session` and `person` of each item.
    """

    n_copies = 1

    def __init__(self, name: str, sessions: Sequence[SessionPictures]) -> None:
        self.name = name
        self.sessions = tuple(sessions)
        galleries = [_gallery_of(each) for each in sessions]
        # Other pictures may bear the same labels.
        prefixes = galleries if len(set(galleries)) > 1 else [""] * len(galleries)
        places = [(n, k) for n, each in enumerate(sessions) for k in range(len(each.stimuli))]
        self._places = places
        self.stimuli: Sequence[str] = tuple(prefixes[n] + sessions[n].stimuli[k] for n, k in places)
        self._first = dict(zip(self.stimuli, places, strict=True))
        people = [_person_of(each) for each in sessions]
        self.groups: Mapping[str, tuple[str, ...]] = {
            "session": tuple(str(n + 1) for n, _ in places),
            "person": tuple(people[n] for n, _ in places),
        }

    def place(self, item: int) -> tuple[SessionPictures, int]:
        """Session of an item, and its number there."""
        session, own = self._places[item]
        return self.sessions[session], own

    def shown(self, key: str) -> Uint8:
        """Picture of a key."""
        session, item = self._first[key]
        return self.sessions[session].shown(self.sessions[session].stimuli[item])

    def drawn(self, item: int, copy: int) -> Uint8:
        """Picture of an item."""
        session, own = self.place(item)
        return session.drawn(own, copy)


def of_systems(
    decoded: Mapping[str, Sequence[Path]], *, with_learnt: bool = False
) -> tuple[list[SessionPictures | JoinedSessions], list[str]]:
    """Make one set of each system's sessions of the same recordings, in the same order.

    Returns
    -------
    sets : list of SessionPictures or JoinedSessions
        Of the trials that every system decoded, so that the sets can be compared.
    remarks : list of str
        What a reader must know of them.
    """
    rows = [
        [SessionPictures(folder, with_learnt=with_learnt) for folder in folders]
        for folders in decoded.values()
    ]
    n_before = sum(len(each.events) for row in rows for each in row)
    for column in zip(*rows, strict=True):
        common = set.intersection(*({e.index for e in each.events} for each in column))
        for each in column:
            each.keep(common)
    n_left_out = n_before - sum(len(each.events) for row in rows for each in row)
    remarks = []
    if n_left_out:
        remarks.append(
            f"Pictures left out, since not every system decoded their trials: {n_left_out}."
        )
    sets = [
        row[0] if len(row) == 1 else JoinedSessions(name, row)
        for name, row in zip(decoded, rows, strict=True)
    ]
    return sets, remarks


def by_system(folders: Sequence[Path], *, with_learnt: bool = False) -> list[JoinedSessions]:
    """Make one set of the sessions of each system and adapter.

    Raises
    ------
    AppError
        A session is given twice: its trials would count as others'.
    """
    whole = [folder.resolve() for folder in folders]
    twice = next((folder for n, folder in enumerate(whole) if folder in whole[:n]), None)
    if twice is not None:
        raise AppError(f"--session {twice} is given twice, expected each once: leave one out.")
    found: dict[str, list[SessionPictures]] = {}
    for folder in folders:
        session = SessionPictures(folder, with_learnt=with_learnt)
        names = (dig(session.record.settings, "decoder", key) for key in ("system", "adapter"))
        name = ", ".join(str(each) for each in names if each) or "sessions"
        found.setdefault(name, []).append(session)
    return [JoinedSessions(name, each) for name, each in found.items()]


def sessions_of(sets: Iterable[object]) -> list[SessionPictures]:
    """Every session that is in one of the sets."""
    found: list[SessionPictures] = []
    for each in sets:
        if isinstance(each, SessionPictures):
            found.append(each)
        elif isinstance(each, JoinedSessions):
            found += each.sessions
    return found


def groups_of(sets: Sequence[object], split: str) -> tuple[str, ...]:
    """Session or person of each item, where all sets agree in it.

    Raises
    ------
    AppError
        A set is of one session, or they are of others.
    """
    found = {each.groups[split] for each in sets if isinstance(each, JoinedSessions)}
    if len(found) != 1 or not all(isinstance(each, JoinedSessions) for each in sets):
        raise AppError(
            f"--choose-split {split} was given sets that are not of the same sessions, several "
            "each: expected --data FOLDER with two --system, or --session folders with --join."
        )
    return found.pop()


def _person_of(pictures: SessionPictures) -> str:
    found = dig(pictures.record.settings, "subject")
    return found if isinstance(found, str) else "anonymous"


def _gallery_of(pictures: SessionPictures) -> str:
    found = dig(pictures.record.settings, "run", "gallery_sha256")
    return f"{found[:8]}: " if isinstance(found, str) else ""
