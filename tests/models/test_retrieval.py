"""Stores of vectors: what is found is the nearest, and a damaged folder is refused in one line."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from models.retrieval.making import make_store, picture_table, read_table
from models.retrieval.store import RetrievalError, VectorStore
from pipeline.gallery import SPACE
from tests.own_pictures import save_pictures

N, WIDTH = 600, 64
TABLE = np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float32)
LABELS = [f"picture {k}" for k in range(N - 1)] + ["Grün, mit Punkt.webp"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VectorStore]:
    folder = tmp_path_factory.mktemp("stores")
    return {
        name: make_store(
            TABLE, LABELS, folder / name, name=name, space="s", indexed=name == "indexed"
        )
        for name in ("exact", "indexed")
    }


@pytest.mark.parametrize("name", ["exact", "indexed"])
def test_the_nearest_are_found_with_their_cosines(
    stores: dict[str, VectorStore], name: str
) -> None:
    store, rng = stores[name], np.random.default_rng(1)
    assert store.is_exact == (name == "exact")
    unit = TABLE / np.linalg.norm(TABLE, axis=1, keepdims=True)
    n_right = 0
    for row in rng.permutation(N)[:40].tolist():
        query = 3.0 * unit[row] + 0.2 * rng.normal(size=WIDTH)
        cosines = unit @ query / np.linalg.norm(query)
        found = store.search(query.astype(np.float32), 5)
        assert [hit.label for hit in found] == [LABELS[hit.row] for hit in found]
        for hit in found:
            assert hit.cosine == pytest.approx(cosines[hit.row], abs=2e-3)
        n_right += found[0].row == row == int(cosines.argmax())
        if store.is_exact:
            np.testing.assert_allclose(
                [hit.cosine for hit in found], np.sort(cosines)[::-1][:5], atol=2e-3
            )
    assert n_right >= 39


def test_an_exact_search_ignores_the_index(stores: dict[str, VectorStore]) -> None:
    again = VectorStore(stores["indexed"].folder, exact=True)
    assert again.is_exact
    assert len(again.search(TABLE[0], N)) == N


def test_as_many_lists_are_scanned_as_are_needed(tmp_path: Path) -> None:
    """Where rows lie together a few lists do; where nothing does, all of them have to be."""
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(2)
    middles = rng.normal(size=(40, WIDTH)).astype(np.float32)
    together = middles[rng.integers(40, size=4000)]
    together = together + 0.3 * rng.normal(size=together.shape).astype(np.float32)
    scanned = {}
    for name, table in (("together", together), ("apart", rng.normal(size=(4000, WIDTH)))):
        labels = [str(k) for k in range(len(table))]
        make_store(table, labels, tmp_path / name, name=name, space="s", indexed=True)
        index = faiss.read_index(str(tmp_path / name / "index.faiss"))
        scanned[name] = index.nprobe / index.nlist
    assert scanned["together"] <= 1 / 8 < 1 / 2 <= scanned["apart"]


def test_a_large_store_without_an_index_says_what_it_costs(
    stores: dict[str, VectorStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not stores["exact"].advice
    monkeypatch.setattr("models.retrieval.store.LEAST_INDEXED", N)
    assert "no index" in stores["exact"].advice
    assert not stores["indexed"].advice
    old, new = stores["exact"].folder, tmp_path / "new"
    monkeypatch.setattr("models.retrieval.making.LEAST_INDEXED", N)
    assert main(["gallery", "make", str(old), "--out", str(new)]) == 0
    assert "searched by an index" in capsys.readouterr().out
    made = VectorStore(new)
    assert made.facts.space == "s"
    assert made.search(TABLE[5], 1)[0].label == LABELS[5]


def test_the_last_label_is_whole(stores: dict[str, VectorStore]) -> None:
    assert stores["exact"].search(TABLE[-1], 1)[0].label == "Grün, mit Punkt.webp"


def test_what_cannot_be_searched_is_refused(stores: dict[str, VectorStore]) -> None:
    for vector in (np.ones(3, np.float32), np.full(WIDTH, np.nan, np.float32)):
        with pytest.raises(RetrievalError, match="expected 64 finite numbers"):
            stores["exact"].search(vector)


def _shorten(folder: Path) -> None:
    np.save(folder / "vectors.npy", TABLE[:5].astype(np.float16))


def _rename_space(folder: Path) -> None:
    facts = json.loads((folder / "vectors.json").read_text())
    (folder / "vectors.json").write_text(json.dumps(facts | {"n_features": 7}))


def _stretch(by: float) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        rows = np.load(folder / "vectors.npy")
        np.save(folder / "vectors.npy", (rows * by).astype(np.float16))

    return spoil


def _move_label(to: int) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        offsets = np.load(folder / "labels.npy")
        offsets[1] = to
        np.save(folder / "labels.npy", offsets)

    return spoil


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no facts": (lambda f: (f / "vectors.json").unlink(), "is no store of vectors"),
    "other sizes": (_rename_space, "as vectors.json says"),
    "fewer vectors": (_shorten, "expected float16"),
    "no labels": (lambda f: (f / "labels.txt").unlink(), "labels.txt"),
    "a pickle": (
        lambda f: np.save(f / "vectors.npy", np.array([{}], object)),
        "is damaged",
    ),
    "rows of another length": (_stretch(80.0), r"row 0 of length 80"),
    "no numbers": (_stretch(np.nan), "row 0 of length nan"),
    "an offset beyond": (_move_label(10**9), "does not say where"),
    "an offset that goes back": (_move_label(-1), "does not say where"),
    "an offset amid a label": (_move_label(5), "does not say where"),
    "a changed index": (lambda f: (f / "index.faiss").write_bytes(b"x" * 99), "was changed"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_store_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    spoil, said = DAMAGE[what]
    make_store(TABLE, LABELS, tmp_path / "s", name="s", space="s", indexed=True)
    spoil(tmp_path / "s")
    with pytest.raises(RetrievalError, match=said) as caught:
        VectorStore(tmp_path / "s")
    assert "\n" not in str(caught.value)


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def make(vectors: np.ndarray, labels: list[str], out: str = "x") -> None:
        make_store(vectors, labels, tmp_path / out, name="n", space="s")

    with pytest.raises(RetrievalError, match="2 labels for 600"):
        make(TABLE, LABELS[:2])
    with pytest.raises(RetrievalError, match="on one line"):
        make(TABLE[:1], ["two\nlines"])
    with pytest.raises(RetrievalError, match="row 1 of the table has no direction"):
        make(np.array([[1.0, 0.0], [0.0, 0.0]]), ["a", "b"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "here").touch()
    with pytest.raises(RetrievalError, match="is not empty"):
        make(TABLE[:1], ["a"], "full")
    np.save(tmp_path / "t.npy", TABLE)
    with pytest.raises(RetrievalError, match=r"t\.txt"):
        read_table(tmp_path / "t.npy")
    with pytest.raises(RetrievalError, match="neither a folder"):
        read_table(tmp_path / "t.csv")


def test_the_command_makes_and_shows_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "t.npy", TABLE.astype(np.float64))
    (tmp_path / "t.txt").write_text("\n".join(LABELS), encoding="utf-8")
    out = tmp_path / "made"
    words = ["gallery", "make", str(tmp_path / "t.npy"), "--out", str(out), "--space", "s"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_vectors"] == N
    assert main(["gallery", "show", str(out)]) == 0
    assert "600 vectors of 64 numbers" in capsys.readouterr().out
    assert VectorStore(out).search(TABLE[3], 1)[0].label == "picture 3"
    assert main(words) == 1


def test_a_store_of_pictures_has_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def colours(squares: np.ndarray) -> np.ndarray:
        return squares.reshape(len(squares), 32, 8, 32, 8, 3).mean(axis=(2, 4)).reshape(-1, 3072)

    monkeypatch.setattr("models.retrieval.making.picture_encoder", lambda _space: colours)
    save_pictures(tmp_path, ["a/one", "b/two", "three"])
    vectors, labels = picture_table(tmp_path, space=SPACE, on_progress=lambda _n, _of: None)
    store = make_store(vectors, labels, tmp_path / "store", name="p", space="colours")
    assert [store.search(v, 1)[0].label for v in vectors[:2]] == labels[:2]


def test_a_row_that_was_not_looked_at_is_refused_when_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_store(TABLE, LABELS, tmp_path / "s", name="s", space="s", indexed=False).folder
    rows = np.load(folder / "vectors.npy")
    rows[7] *= 80
    np.save(folder / "vectors.npy", rows)
    monkeypatch.setattr("models.retrieval.store._SMALL", 1)
    monkeypatch.setattr("models.retrieval.store._N_LOOKED_AT", 2)
    store = VectorStore(folder)
    with pytest.raises(RetrievalError, match="row 7 of length 80"):
        store.search(TABLE[7], 3)


REFUSED: dict[str, tuple[np.ndarray, dict[str, str], str]] = {
    "a row in the last place": (np.vstack([TABLE[:4], np.full((1, WIDTH), np.nan)]), {}, "row 4"),
    "a long name": (TABLE[:5], {"name": "n" * 80}, "give another --name"),
    "a long space": (TABLE[:5], {"space": "n" * 80}, "give another --space"),
    "no text": (TABLE[:5], {"name": "caf\udce9"}, "give another --name"),
    "another width": (TABLE[:5, :7], {"space": SPACE}, "expected 64 of the space"),
    "too wide": (np.ones((5, 1_000_001), np.float16), {}, "n_features"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_make_that_is_refused_leaves_nothing(what: str, tmp_path: Path) -> None:
    table, given, said = REFUSED[what]
    words = {"name": "n", "space": "s"} | given
    with pytest.raises(RetrievalError, match=said) as caught:
        make_store(table, LABELS[:5], tmp_path / "out", **words)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_make_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_n: int, _of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_store(TABLE, LABELS, tmp_path / "o", name="n", space="s", on_progress=interrupt)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scale", [1e30, 1e300, 1e-30, 1e-300])
def test_rows_of_any_length_have_a_direction(scale: float, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = TABLE[:9].astype(np.float64) * scale
        store = make_store(table, LABELS[:9], tmp_path / "s", name="s", space="s")
        (hit,) = store.search(TABLE[4], 1)
    assert (hit.row, hit.cosine) == (4, pytest.approx(1.0, abs=1e-3))


def test_lines_end_at_line_ends_only(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", TABLE[:3])
    (tmp_path / "t.txt").write_bytes("a\u2028b\r\nc\x0cd\x85e\r\nf".encode())
    vectors, labels = read_table(tmp_path / "t.npy")
    assert labels == ["a\u2028b", "c\x0cd\x85e", "f"]
    store = make_store(vectors, labels, tmp_path / "s", name="s", space="s")
    assert [store.label(row) for row in range(3)] == labels


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_pictures_name_that_is_no_text_becomes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "models.retrieval.making.picture_encoder", lambda _space: lambda squares: squares[:, 0, 0]
    )
    (path,) = save_pictures(tmp_path, ["one"])
    path.rename(tmp_path / os.fsdecode(b"caf\xe9\n.png"))
    _, labels = picture_table(tmp_path, space="s", on_progress=lambda _n, _of: None)
    assert labels == ["caf??.png"]
