"""The fuzz itself: cases can be made again, a reader's failure is found, whole files are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.benchmarks import fuzz
from devices.xdf import XdfFile


def test_a_short_run_finds_nothing_and_repeats(tmp_path: Path) -> None:
    result = fuzz.run_fuzz_bench(
        minutes=0, seed=7, keep=tmp_path / "found", least=6 * len(fuzz._CORPUS)
    )
    assert result["findings"] == {}
    assert result["rows"][0]["met"]
    assert all(counts["cases"] > 5 for counts in result["readers"].values())
    assert not (tmp_path / "found").exists()
    path = tmp_path / "whole.xdf"
    fuzz._build_xdf(path)
    raw = path.read_bytes()
    cases = [fuzz.make_case([raw], 3, k) for k in range(20)]
    assert cases == [fuzz.make_case([raw], 3, k) for k in range(20)]
    assert len({*cases}) == 20
    assert raw not in cases


def test_what_a_reader_must_not_do_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(self: XdfFile) -> None:
        raise IndexError("oops")

    path = tmp_path / "whole.xdf"
    fuzz._build_xdf(path)
    assert fuzz.judge(path) == "read"
    monkeypatch.setattr(XdfFile, "clock_probes", careless)
    outcome = fuzz.judge(path)
    assert "IndexError: oops" in outcome
    findings: dict[str, dict[str, object]] = {}
    for number in (1, 2):
        fuzz._note(
            findings, outcome, reader="XDF", case=(0, number), raw=b"XDF:", keep=tmp_path / "found"
        )
    (found,) = findings.values()
    assert found["n"] == 2
    assert Path(str(found["file"])).read_bytes() == b"XDF:"


def test_a_case_that_hangs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "whole.xdf"
    fuzz._build_xdf(path)
    monkeypatch.setattr(fuzz, "SLOW", 0.05)
    monkeypatch.setattr(XdfFile, "clock_probes", lambda self: [None for _ in iter(int, 1)])
    assert "_TooSlowError" in fuzz.judge(path)
