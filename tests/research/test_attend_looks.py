"""The curves of looks: a line a person, from the bench's own table."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from research.figures.attend_looks import drawn, rows_of


def test_every_person_of_the_bench_has_a_line(tmp_path: Path) -> None:
    paths = []
    for who, right in (("sub-02", [0.5, 1.0, 1.0]), ("sub-01", [1.0, 1.0, 0.9])):
        row = {"part": "looks", "what": f"x_{who}, looks of 8.4 s", "by_look": right}
        rows = [row, {"part": "cost", "what": "one step"}]
        paths.append(tmp_path / f"{who}.json")
        paths[-1].write_text(json.dumps({"benchmarks": {"attend": {"rows": rows}}}))
    root = ElementTree.fromstring(drawn(rows_of(paths)))
    lines = [each for each in root.iter() if each.tag.endswith("polyline")]
    assert [len(each.attrib["points"].split()) for each in lines] == [3, 3]
    words = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert [each for each in words if each and "person" in each] == ["person 1", "person 2"]
