"""The report: one file, true sentences, nothing injected, nothing loaded."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from app import formatting
from app.accuracy import Identification
from app.commands.common import _closing_lines
from app.port import Snapshot
from app.report import ReportError, build_report
from app.report.findings import Tone, find
from app.report.markup import Markup, clean, element
from app.report.record import read_record
from app.report.svg import Scale, ticks
from app.runtime.statistics import accuracy_of_events, accuracy_table
from app.runtime.summary import StreamFigures, warnings_of
from configs import SessionConfig
from tests.app.session_folders import make_session, make_summary, stimulus, write_events

ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


class Page(HTMLParser):
    """Elements, attributes and visible text of a page, by the standard library's parser."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "elements are not nested"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def build(folder: Path) -> Page:
    path = build_report(folder, stimuli=stimulus)
    assert path == folder / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert not page.open
    return page


def sentences(folder: Path) -> dict[str, Tone]:
    return {finding.text: finding.tone for finding in find(read_record(folder))}


def test_the_report_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    page = build(make_session(tmp_path / "s"))
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form", "a"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "data"}:
                assert value is not None
                assert value.startswith("data:image/webp;base64,")
    text = (tmp_path / "s" / "report.html").read_text(encoding="utf-8")
    assert "url(" not in text
    assert set(re.findall(r"https?://[^\"' <]+", text)) == {"http://www.w3.org/2000/svg"}


def test_every_decoded_picture_stands_beside_its_stimulus(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s")
    record = read_record(folder)
    images = [a for tag, a in build(folder).tags if tag == "img"]
    shown = [a["alt"] for a in images if a["class"] == "decoded"]
    assert shown == [f"decoded picture {event.index}" for event in record.decoded]
    stimuli = [a["alt"] for a in images if a["class"] == "stimulus"]
    assert stimuli == [f"stimulus: {event.label}" for event in record.decoded]


def test_stimuli_come_from_the_gallery_and_unknown_labels_have_none(tmp_path: Path) -> None:
    from pipeline.gallery import load_gallery

    folder = make_session(tmp_path / "s", n_markers=2)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    known = load_gallery().labels[3]
    events[0]["label"], events[1]["label"] = known, "no such thing"
    write_events(folder, events)
    page = Page(build_report(folder).read_text(encoding="utf-8"))
    images = [a for tag, a in page.tags if tag == "img"]
    assert [a["alt"] for a in images if a["class"] == "stimulus"] == [f"stimulus: {known}"]


def test_a_session_above_chance_says_so(tmp_path: Path) -> None:
    texts = sentences(make_session(tmp_path / "s"))
    first = next(iter(texts))
    assert first.startswith("Above chance: 18 of 46 pictures identified (39 %")
    assert "the same answers with the labels shuffled give" in first
    assert first.endswith("(anytime-valid permutation test (conformal e-values), top-1).")
    assert texts[first] is Tone.GOOD


def test_a_session_of_before_keeps_the_name_of_its_test(tmp_path: Path) -> None:
    """Its p is that of one look at the end, and the report says so."""
    old = {"n": 46, "n_correct": 18, "n_candidates": 200, "chance": 0.005, "p_value": 1e-9}
    first = next(iter(sentences(make_session(tmp_path / "s", accuracy=old))))
    assert first.startswith("Above chance: 18 of 46")
    assert first.endswith("p < 0.0001 (binomial test at the end, top-1).")


def test_answering_the_commonest_label_is_called_chance(tmp_path: Path) -> None:
    """33 of 39 right where 33 markers bore one label, as summary and report tell it."""
    folder = make_session(tmp_path / "s", n_markers=8)
    names = ["thing-001"] * 33 + ["thing-002"] * 6
    np.random.default_rng(0).shuffle(names)
    events = [
        {
            "index": index,
            "t_onset": float(index),
            "label": name,
            "outcome": "decoded",
            "top": [["thing-001", 0.9], ["thing-002", 0.1]],
            "chance": 1 / 200,
            "rank": 1 if name == "thing-001" else 2,
        }
        for index, name in enumerate(names)
    ]
    write_events(folder, events)
    accuracy = accuracy_table(accuracy_of_events(events))
    assert accuracy is not None
    assert (accuracy["n_correct"], accuracy["n"]) == (33, 39)
    assert accuracy["chance"] == pytest.approx(33 / 39)
    assert accuracy["p_value"] == 1.0
    summary = json.loads((folder / "summary.json").read_text()) | {"accuracy": accuracy}
    (folder / "summary.json").write_text(json.dumps(summary))
    first = next(iter(sentences(folder)))
    assert first.startswith("Not distinguishable from chance: 33 of 39")
    assert "shuffled give 85 %" in first
    page = build(folder).text
    assert "chance 85 %" in page
    assert "chance 100 %" in page  # the other label is always among the first five


def test_three_of_four_are_too_few_to_say(tmp_path: Path) -> None:
    """No p, no interval, no verdict: in the report, its figures and the summary's warnings."""
    found = Identification(227)
    for label, rank in (("a", 1), ("b", 1), ("c", 5), ("d", 1)):
        found.add(label, label if rank == 1 else "z", rank)
    folder = make_session(tmp_path / "s", n_markers=8)
    summary = json.loads((folder / "summary.json").read_text())
    own = warnings_of(StreamFigures(), found.accuracy, SessionConfig())
    assert own == ["Identification (3 of 4): too few to say: a verdict takes 5 pictures."]
    changed = {"accuracy": accuracy_table(found.accuracy), "warnings": own}
    (folder / "summary.json").write_text(json.dumps(summary | changed))
    first, tone = next(iter(sentences(folder).items()))
    assert first == "3 of 4 pictures identified: too few to say: a verdict takes 5 pictures."
    assert tone is Tone.NOTE
    page = build(folder).text
    assert "of 4 pictures: too few to say" in page
    assert page.count("too few to say") == 2
    for wrong in ("95 % interval", "distinguishable", "p =", "99.8", "Only 4 pictures"):
        assert wrong not in page


def test_free_running_windows_are_said_to_have_no_truth(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", accuracy=None)
    settings = tomllib.loads((folder / "session.toml").read_text())
    settings.setdefault("epochs", {})["mode"] = "free"
    (folder / "session.toml").write_text(tomli_w.dumps(settings))
    first = next(iter(sentences(folder)))
    assert first.startswith("Identification was not scored: free-running windows are cut without")
    page = build(folder).text
    for words in ("no label", "mean rank", "Rank of the true label", "How the markers", "stimulus"):
        assert words not in page, words
    assert "How the windows ended" in page


def test_a_session_at_chance_says_so_first_and_plainly(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", skill=0.0, seed=5)
    first, tone = next(iter(sentences(folder).items()))
    assert first.startswith("Not distinguishable from chance: 0 of 42")
    assert tone is Tone.WARNING
    assert "Not distinguishable from chance" in build(folder).text


def test_an_interval_above_chance_beside_a_large_p_is_explained(tmp_path: Path) -> None:
    """3 of 8 among 227: the interval excludes chance, the test cannot; console and report agree."""
    found = Identification(227)
    for number in range(8):
        is_right = number in {1, 4, 6}
        found.add(str(number), str(number) if is_right else "z", 1 if is_right else 9)
    accuracy = found.accuracy
    assert accuracy is not None
    assert accuracy.low > accuracy.chance
    folder = make_session(tmp_path / "s")
    summary = json.loads((folder / "summary.json").read_text())
    changed = {"accuracy": accuracy_table(accuracy)}
    (folder / "summary.json").write_text(json.dumps(summary | changed))
    first, second, *_ = sentences(folder)
    p = formatting.p_value(accuracy.p_value)
    assert first.startswith("Not distinguishable from chance: 3 of 8")
    assert f"; {p} (anytime-valid" in first
    assert second.startswith("The interval lies above chance, and p does not say so: both hold.")
    for each in (accuracy, replace(accuracy, p_value=7.8e-32)):
        said = "\n".join(_closing_lines(Snapshot(accuracy=each)))
        assert f"{formatting.p_value(each.p_value)}, valid at any time" in said
        assert ("both hold" in said) is (each is accuracy)


def test_below_chance_is_never_called_decoding(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s")
    summary = json.loads((folder / "summary.json").read_text())
    summary["accuracy"] |= {"n": 100, "n_correct": 0, "p_value": 0.0001}
    (folder / "summary.json").write_text(json.dumps(summary))
    assert next(iter(sentences(folder))).startswith("Not distinguishable from chance")


@pytest.mark.parametrize(
    ("stream", "is_said"),
    [
        ({"simulated": True}, True),
        ({"manufacturer": "Phosphene (virtual)"}, True),  # of before
        ({"simulated": False, "manufacturer": "OpenBCI"}, False),
        ({"manufacturer": "VirtualReality Inc."}, False),
    ],
)
def test_a_simulation_is_called_what_it_is(
    stream: dict[str, Any], is_said: bool, tmp_path: Path
) -> None:
    """Never realistic: the decoder was trained on the code that its responses are made by."""
    folder = make_session(tmp_path / "s", n_markers=8)
    table = {"preset": "demo", "simulation": {"snr": 0.5}, "streams": {"eeg": stream}}
    (folder / "session.toml").write_text(tomli_w.dumps(table))
    found = [text for text in sentences(folder) if text.startswith("The EEG is simulated")]
    assert len(found) == is_said
    for text in found:
        assert "0.5 times the size that the decoder was trained on" in text
        assert "by the code that the shipped decoder was trained on" in text
        assert "realistic" not in text


def test_an_unscored_session_is_not_judged(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", accuracy=None)
    assert next(iter(sentences(folder))).startswith("Identification was not scored")
    page = build(folder)
    assert "not scored" in page.text
    assert "chance 0" not in page.text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"markers": 50}, "The outcomes do not add up: 50 markers, but 8 outcomes"),
        ({"reconnects": 2}, "The stream was lost and found again 2 times."),
        ({"recording": {"dropped": 7}}, "The recording is incomplete: 7 packets"),
        ({"effective_sfreq": 240.0}, "The headset sent 240.00 samples a second but declares 250"),
        ({"latency_check": {"relative_error": 0.2}}, "The stages do not add up"),
        ({"overhead_ms": {"p50": 120.0, "limit_p50": 90.0}}, "Slower than it should be: 120 ms"),
        ({"latency_clock": "replay"}, "Latencies are those of a replay"),
        ({"replay_of": "other/recording.xdf"}, "This session replays a recording."),
        ({"phase": "failed", "message": "Out of disk."}, "The session ended with a failure; what"),
        (
            {"samples": {"lost": 0}, "gaps": 3},
            "The stream was interrupted 3 times; no sample is known to be lost.",
        ),
        ({"warnings": ["The disk is nearly full."]}, "The disk is nearly full."),
    ],
)
def test_what_went_wrong_is_said_only_when_it_did(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    plain = sentences(make_session(tmp_path / "plain", n_markers=8))
    assert not any(text.startswith(sentence) for text in plain)
    changed = sentences(make_session(tmp_path / "changed", n_markers=8, **change))
    assert any(text.startswith(sentence) for text in changed)


def test_what_the_report_says_itself_is_not_said_twice(tmp_path: Path) -> None:
    from app.accuracy import Accuracy
    from configs import load_preset

    demo = load_preset("demo")
    config = demo.model_copy(update={"simulation": demo.simulation.model_copy(update={"snr": 0.0})})
    streams = StreamFigures(n_lost=9, n_gaps=2, sfreq=250.0, effective_sfreq=240.0)
    by_chance = Accuracy(40, 0, 1, 0.005, 0.0, 0.1, 1.0, 99.0, 200)
    own = warnings_of(streams, by_chance, config)
    assert len(own) == 4
    texts = sentences(make_session(tmp_path / "s", n_markers=8, warnings=[*own, "Something else."]))
    assert "Something else." in texts
    assert not set(own) & set(texts)


def test_text_from_files_is_shown_and_never_run(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", n_markers=6, warnings=[ATTACK], phase=ATTACK)
    lines = (folder / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    for event in events:
        event["label"] = event["reason"] = ATTACK
        event["top"] = [[ATTACK, 0.5]]
    events.append({"index": 99, "t_onset": 1.0, "label": ATTACK, "outcome": ATTACK})
    write_events(folder, events)
    summary = make_summary(events) | {"warnings": [ATTACK], "decoder": {ATTACK: ATTACK}}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "session.toml").write_text(f"subject = {json.dumps(ATTACK)}\n")
    page = build(folder)
    assert ATTACK in page.text
    assert not {"script"} & {tag for tag, _ in page.tags}
    assert not any("onerror" in attributes for _, attributes in page.tags)


@pytest.mark.parametrize(
    "image", ["../outside.png", "/etc/hostname", "images/../../outside.png", "images/a/b.png", ""]
)
def test_a_picture_outside_the_folder_is_not_read(tmp_path: Path, image: str) -> None:
    folder = make_session(tmp_path / "s", n_markers=3)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    (tmp_path / "outside.png").write_bytes((folder / events[0]["image"]).read_bytes())
    for event in events:
        event["image"] = image
    write_events(folder, events)
    assert not [a for tag, a in build(folder).tags if tag == "img" and a["class"] == "decoded"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", n_markers=1)
    (picture,) = (folder / "images").iterdir()
    picture.rename(tmp_path / "outside.png")
    picture.symlink_to(tmp_path / "outside.png")
    assert not [a for tag, a in build(folder).tags if tag == "img" and a["class"] == "decoded"]


def test_an_exchanged_picture_is_pointed_out(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", n_markers=4)
    assert "not the picture that was decoded" not in build(folder).text
    first, second, *_ = sorted((folder / "images").iterdir())
    first.write_bytes(second.read_bytes())
    assert build(folder).text.count("not the picture that was decoded") == 1


def test_a_file_that_is_no_picture_leaves_a_blank(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", n_markers=2)
    for picture in (folder / "images").iterdir():
        picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"junk")
    assert "no picture" in build(folder).text


def test_a_truncated_event_log_is_reported_not_hidden(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s")
    log = folder / "events.jsonl"
    log.write_text(log.read_text()[:-30] + "\n[1, 2]\n{}\n")
    assert any("3 lines of events.jsonl could not be read" in s for s in sentences(folder))
    build(folder)


def test_a_session_without_anything_still_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    assert "Nothing to show" in build(tmp_path).text


@pytest.mark.parametrize("content", [None, "", "{", "[]", "\udcff"])
def test_a_folder_that_is_no_session_is_refused_in_one_line(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "summary.json").write_text(content, errors="surrogateescape")
    with pytest.raises(ReportError, match=r"summary\.json: .*") as caught:
        build_report(tmp_path, stimuli=stimulus)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_timeline_lanes_and_gap_band_are_drawn(tmp_path: Path) -> None:
    page = build(make_session(tmp_path / "s"))
    kinds = [a.get("class") for tag, a in page.tags if tag in {"rect", "circle"}]
    assert kinds.count("gap") == 1
    assert kinds.count("point good") >= 18
    assert "rank of the true label" in page.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
EVENT_KEYS = ["label", "top", "chance", "rank", "confidence", "image", "image_sha256", "reason"]


def leaves(table: dict[str, Any], *path: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, value in table.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += leaves(value, *path, key)
    return found


@pytest.fixture(scope="module")
def small_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(tmp_path_factory.mktemp("report") / "s", n_markers=3)


@pytest.fixture(scope="module")
def whole_summary(small_session: Path) -> str:
    return (small_session / "summary.json").read_text(encoding="utf-8")


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    value=json_values,
    event=st.dictionaries(st.sampled_from(EVENT_KEYS), json_values),
)
def test_no_json_whatever_breaks_the_report(
    small_session: Path,
    whole_summary: str,
    data: st.DataObject,
    value: Any,
    event: dict[str, Any],
) -> None:
    summary = json.loads(whole_summary)
    *path, last = data.draw(st.sampled_from(leaves(summary)))
    table = summary
    for key in path:
        table = table[key]
    table[last] = value
    (small_session / "summary.json").write_text(json.dumps(summary))
    line = {"index": 0, "t_onset": 1.0, "outcome": "decoded", "rank": 1} | event
    write_events(small_session, [line, line | {"index": 1, "t_onset": 2.0}])
    build(small_session)


@given(st.text(), st.text())
def test_text_survives_escaping_and_cannot_become_markup(content: str, value: str) -> None:
    page = Page(element("p", content, title=clean(value)))
    assert [tag for tag, _ in page.tags] == ["p"]
    assert page.tags[0][1]["title"] == clean(value)
    assert "".join(page.words) == clean(content, limit=20_000)


def test_only_markup_is_taken_as_markup() -> None:
    assert element("p", Markup("<b></b>"), "<i>", None, [1, "&"]) == "<p><b></b>&lt;i&gt;1&amp;</p>"


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_ticks_reach_the_top_in_few_round_steps(high: float) -> None:
    marks = ticks(high)
    assert marks[0] == 0
    assert marks[-1] >= high * (1 - 1e-9)
    assert marks[-2] < high * (1 + 1e-9)
    assert 2 <= len(marks) <= 7


def test_scale_keeps_values_inside_the_drawing() -> None:
    scale = Scale(0, 10, 100, 200)
    assert [scale(v) for v in (-5, 0, 5, 10, 99)] == [100, 100, 150, 200, 200]
