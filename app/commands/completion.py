"""`phosphene completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import argparse

from app.output import write_text

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "completion",
        help="let the shell complete commands and options",
        description="Print what a shell needs to complete phosphene's commands and options; "
        "bash reads it from ~/.local/share/bash-completion/completions/phosphene.",
    )
    parser.add_argument("shell", choices=SHELLS)


def run(args: argparse.Namespace) -> int:
    """Print the shell's script."""
    import shtab

    from app.cli import build_parser

    write_text(shtab.complete(build_parser(), shell=args.shell))
    return 0
