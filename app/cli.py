"""The command `phosphene`: one file a command under `app/commands`.

Owns the parser and the exit codes: 0 done, 1 failed with a one-line reason, 2 wrong usage. Heavy
imports happen inside the command that needs them, so that `--help` is instant and the window
never imports torch.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import keyword
import os
import sys
from collections.abc import Sequence

from app.ending import Ending, caught

LONGEST_ERROR = 4000
"""Characters of an error that are printed: it may quote what a file or a stream holds."""
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
COMMANDS = (
    "demo",
    "gui",
    "run",
    "attend",
    "stage",
    "calibrate",
    "adapters",
    "streams",
    "devices",
    "device",
    "simulate",
    "replay",
    "record",
    "recover",
    "export",
    "systems",
    "gallery",
    "generate",
    "evaluate",
    "train",
    "import",
    "bench",
    "serve",
    "compile",
    "doctor",
    "completion",
)
"""Commands in the order of `--help`; each is a module of `app.commands`."""
_SHARED = ("import", "completion")
"""Commands whose files are nobody's brain; what all others write is its user's only."""


def _module(name: str) -> str:
    # `import` is a word of Python and cannot name a module.
    return f"app.commands.{name}_" if keyword.iskeyword(name) else f"app.commands.{name}"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of every command."""
    from importlib.metadata import version

    parser = argparse.ArgumentParser(
        prog="phosphene",
        description="Live EEG becomes pictures. Start with: phosphene demo",
    )
    parser.add_argument("--version", action="version", version=f"phosphene {version('phosphene')}")
    _add_verbose(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(_module(name)).add_parser(subparsers)
    return parser


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; `-v` may stand anywhere, before the command and after it."""
    anywhere = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_verbose(anywhere)
    verbose, rest = anywhere.parse_known_args(argv)
    return build_parser().parse_args(rest, namespace=verbose)


def _add_verbose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", "--verbose", action="count", default=0, help="more on standard error")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    with caught(for_good=argv is None) as ending:
        code = _run(argv, ending)
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
    return code


def _run(argv: Sequence[str] | None, ending: Ending) -> int:
    # Imported only now that signals are caught: they take a while.
    import logging

    from app.output import PlainFormatter
    from configs.private import UMASK, made_folders, remove_empty

    args = _arguments(argv)
    ending.name = f"phosphene {args.command}"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(args.verbose, 2)]
    logging.basicConfig(level=level, handlers=[handler])
    if args.command not in _SHARED:
        os.umask(UMASK)

    with made_folders() as made:
        code = _command(args, ending)
    if code == 1:
        remove_empty(made)
    return code


def _command(args: argparse.Namespace, ending: Ending) -> int:
    import logging

    from app.output import write_note
    from configs import ConfigError
    from configs.plain import plain
    from pipeline.errors import PhospheneError
    from pipeline.extras import extras_named

    command = importlib.import_module(_module(args.command))
    try:
        with extras_named("this command"):
            return int(command.run(args))
    except (PhospheneError, ConfigError) as error:
        logging.getLogger(__name__).debug("the command failed", exc_info=True)
        # Who is asked to end while it looks for a stream, or waits, does not fail for that.
        why = "interrupted" if ending.code else plain(str(error), limit=LONGEST_ERROR)
        write_note(f"{ending.name}: {why}")
        return ending.code or 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{ending.name}: interrupted\n")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        # A path that no system can hold, a disk that is gone: the user's matter, not a fault.
        logging.getLogger(__name__).debug("the command failed", exc_info=True)
        where = "" if error.filename is None else f"{error.filename}: "
        advice = ": make room, or choose another place" if error.errno in _DISK_ERRORS else ""
        why = "interrupted" if ending.code else f"{where}{error.strerror or error}{advice}."
        write_note(f"{ending.name}: {plain(why, limit=LONGEST_ERROR)}")
        return ending.code or 1


if __name__ == "__main__":
    sys.exit(main())
