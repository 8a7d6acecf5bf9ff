"""What a client needs to reach a server: its address, its certificate's fingerprint, a token.

Owns the file (its owner's only) and where it lies unless a setting says otherwise. The token stands
here alone: settings, sessions and logs name the file.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from app.errors import AppError
from configs.guard import read_text
from configs.private import make_private, open_private

_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,200}")
_FINGERPRINT = re.compile(r"([0-9a-f]{64})?")


class TicketError(AppError):
    """A ticket is missing, damaged, or not private."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One client's way in; `fingerprint` is the certificate's SHA-256, empty without TLS."""

    url: str
    token: str
    fingerprint: str = ""

    def __repr__(self) -> str:
        """Without the token: values end in logs."""
        return f"Ticket({self.url!r})"


def place_of(url: str) -> Path:
    """Where the ticket of a server lies by default: `servers` beside the adapters."""
    home = os.environ.get("PHOSPHENE_HOME")
    root = Path(home) if home else Path(platformdirs.user_data_path("phosphene", appauthor=False))
    parts = urlsplit(url)
    name = re.sub(r"[^A-Za-z0-9.-]", "_", f"{parts.hostname}-{parts.port}")
    return root / "servers" / f"{name}.json"


def write_ticket(ticket: Ticket, path: Path) -> None:
    """Write a ticket for its owner only; an old one is replaced."""
    make_private(path.parent)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with open_private(part, "x") as stream:
        table = {"url": ticket.url, "token": ticket.token, "fingerprint": ticket.fingerprint}
        json.dump(table, stream, indent=1)
        stream.write("\n")
    os.replace(part, path)  # noqa: PTH105 - replaces on every system


def read_ticket(url: str, path: Path | None) -> Ticket:
    """Read the ticket for a server; `path` None: where it lies by default.

    Raises
    ------
    TicketError
        Missing, damaged, readable by others, or of another server.
    """
    where = place_of(url) if path is None else path
    try:
        table = json.loads(read_text(where))
        ticket = Ticket(str(table["url"]), str(table["token"]), str(table["fingerprint"]))
        mode = stat.S_IMODE(where.stat().st_mode)
    except FileNotFoundError:
        raise TicketError(
            f"{where} is missing, expected the ticket for {url}: have one made on the server "
            "(`phosphene serve --ticket NAME`), copy it there, or name it in decoder.ticket."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TicketError(
            f"{where} cannot be read ({type(error).__name__}), expected the ticket for {url} "
            "as `phosphene serve --ticket NAME` wrote it: copy that file whole."
        ) from None
    if not _TOKEN.fullmatch(ticket.token) or not _FINGERPRINT.fullmatch(ticket.fingerprint):
        raise TicketError(f"{where} holds no token or fingerprint of ours: have it made again.")
    if os.name != "nt" and mode & 0o077:
        raise TicketError(
            f"{where} may be read by others (mode {mode:o}), expected 600: chmod 600 it, and have "
            "the token replaced (`phosphene serve --ticket NAME`)."
        )
    ours, theirs = urlsplit(url), urlsplit(ticket.url)
    if (ours.scheme, ours.port) != (theirs.scheme, theirs.port):
        raise TicketError(f"{where} is the ticket for another server than {url}.")
    return ticket
