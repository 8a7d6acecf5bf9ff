"""Settings of liblsl that Phosphene writes, or quiets."""

from __future__ import annotations

import pytest

from devices.lsl_settings import machine_only, quieted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "\n[log]\nlevel = -3\n"),
        ("[lab]\nSessionID = a\n", "[lab]\nSessionID = a\n\n[log]\nlevel = -3\n"),
        ("[log]\nfile = /tmp/x\n[lab]\n", "[log]\nlevel = -3\nfile = /tmp/x\n[lab]\n"),
        # Who asks for a log gets it; a level of another section is no level of the log.
        ("[log]\nlevel = 4\n", "[log]\nlevel = 4\n"),
        ("[log]\n[x]\nlevel = 4\n", "[log]\nlevel = -3\n[x]\nlevel = 4\n"),
    ],
)
def test_settings_are_kept_but_for_the_remarks(text: str, wanted: str) -> None:
    assert quieted(text) == wanted
    assert quieted(wanted) == wanted


def test_one_machine_is_asked_directly() -> None:
    lines = machine_only("mine").splitlines()
    assert lines.index("KnownPeers = {127.0.0.1}") > lines.index("[lab]")
    assert {"ResolveScope = machine", "SessionID = mine"} <= set(lines)
