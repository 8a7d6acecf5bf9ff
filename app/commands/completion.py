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

    parser = build_parser()
    _offer_presets(parser)
    write_text(shtab.complete(parser, shell=args.shell))
    return 0


def _offer_presets(parser: argparse.ArgumentParser) -> None:
    """Let the shell know the names that `--preset` takes, which the loader checks."""
    from configs import list_presets

    for action in parser._actions:  # noqa: SLF001 - argparse has no other way in
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for each in action.choices.values():
                _offer_presets(each)
        elif "--preset" in action.option_strings:
            action.choices = list_presets()
