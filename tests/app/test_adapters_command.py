"""`phosphene adapters` as a person uses it, and as one who mistypes does."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from app.cli import main
from models.adapters import AdapterStore
from tests.models.adapter_files import small_adapter, zipped


class Terminal(io.StringIO):
    """Text that comes from, or goes to, a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AdapterStore:
    """Six adapters of four people in a home of the test's own."""
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path / "home"))
    made = AdapterStore()
    path = zipped(small_adapter(tmp_path / "made"), tmp_path / "made.zip")
    for subject in ("kim", "kim", "kim", "jo", "lu", "mo"):
        made.import_(path, subject=subject, force=True)
    return made


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["adapters", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("yes", [(), ("--yes",)])
@pytest.mark.parametrize("name", ["..", ".", "", "a/../..", "/", "~", "../adapters", "kim"])
def test_deleting_what_is_no_id_deletes_nothing(
    store: AdapterStore, capsys: pytest.CaptureFixture[str], name: str, yes: tuple[str, ...]
) -> None:
    before = sorted(store.root.rglob("*"))
    code, out, err = run(capsys, "delete", name, *yes)
    assert (code, out) == (1, "")
    assert err.startswith(f"phosphene adapters: there is no adapter {name!r}")
    assert err.count("\n") == 1
    code, _, err = run(capsys, "delete", "--subject", name if name != "kim" else "k/m", *yes)
    assert code == 1
    assert "no subject code" in err
    assert sorted(store.root.rglob("*")) == before


def test_deleting_without_a_terminal_needs_a_word(
    store: AdapterStore, capsys: pytest.CaptureFixture[str]
) -> None:
    one = store.list("kim")[0].adapter_id
    for words in (("delete", one), ("delete", "--subject", "kim")):
        code, out, err = run(capsys, *words)
        assert (code, out) == (1, "")
        assert "add --yes" in err
        assert err.count("\n") == 1
    assert len(store.list()) == 6
    assert run(capsys, "delete", one, "--yes")[:2] == (0, f"{one} is deleted.\n")
    assert len(store.list()) == 5


def test_deleting_on_a_terminal_asks_and_lists_what_goes(
    store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [each.adapter_id for each in store.list("kim")]
    for answer in ("", "n\n", "what\n"):
        said = Terminal()
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        monkeypatch.setattr(sys, "stderr", said)
        assert main(["adapters", "delete", "--subject", "kim"]) == 1
        assert all(each in said.getvalue() for each in ids)
        assert said.getvalue().endswith("nothing is deleted.\n")
    assert len(store.list("kim")) == 3
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert main(["adapters", "delete", "--subject", "kim"]) == 0
    assert store.subjects() == ("jo", "lu", "mo")


def test_deleting_a_person_tells_what_it_cannot_reach(
    store: AdapterStore, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.root / "kim" / ".part-x").mkdir()
    code, out, _ = run(capsys, "delete", "--subject", "kim", "--yes")
    assert code == 0
    assert out.startswith("kim is deleted with 3 adapters and 1 that were never finished. ")
    assert "They were made from recording.xdf. " in out
    assert "recordings and session folders" in out
    code, out, _ = run(capsys, "delete", "--subject", "jo", "--yes", "--json")
    table = json.loads(out)
    assert len(table["deleted"]) == 1
    assert table["recordings"] == ["recording.xdf"]
    assert "backup" in table["not_reached"]


def test_a_list_survives_a_damaged_store(
    store: AdapterStore, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.root / "kim" / "active.json").write_bytes(b"[" * 100_000)
    (store.root / "jo" / "jo-broken").mkdir()
    code, out, err = run(capsys, "list", "--json")
    assert (code, err) == (0, "")
    lines = json.loads(out)
    assert len(lines) == 7
    assert [line["id"] for line in lines if line["problem"]] == ["jo-broken"]
    code, out, _ = run(capsys, "list")
    assert "jo-broken" in out
