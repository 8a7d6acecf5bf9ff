"""Composing: every choice is the start of the next, and undo is a cell."""

from __future__ import annotations

import pytest

from app.attend.composing import Composer, Kind
from pipeline.gallery import Gallery, load_gallery


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    return load_gallery().subset(kind="upright")


def _number(composer: Composer, kind: Kind) -> int:
    return next(k for k, cell in enumerate(composer.cells) if cell.kind is kind)


@pytest.mark.parametrize("n_cells", [6, 20, 64])
def test_every_grid_is_full_and_no_cell_stands_twice(gallery: Gallery, n_cells: int) -> None:
    composer = Composer(gallery, n_cells=n_cells, seed=3)
    kinds = [Kind.ZOOM, Kind.START, Kind.COLOUR, Kind.NEIGHBOUR]
    for kind in kinds:
        assert len(composer.cells) == n_cells
        words = [cell.words for cell in composer.cells]
        assert len(set(words)) == n_cells
        composer.choose(_number(composer, kind))
    assert composer.cells[0].kind is Kind.UNDO


def test_zoom_leads_to_one_of_its_category(gallery: Gallery) -> None:
    composer = Composer(gallery, n_cells=20, seed=1)
    face = next(k for k, cell in enumerate(composer.cells) if cell.category == "face")
    composer.choose(face)
    labels = [cell.mix.label for cell in composer.cells if cell.kind is Kind.START]
    known = gallery.subset(category="face").labels
    assert sum(label in known for label in labels) >= 15


def test_undo_goes_back_to_the_same_grid_and_done_ends(gallery: Gallery) -> None:
    composer = Composer(gallery, n_cells=20, seed=2)
    composer.choose(_number(composer, Kind.ZOOM))
    composer.choose(_number(composer, Kind.START))
    before, path = composer.cells, list(composer.path)
    composer.choose(_number(composer, Kind.BLEND))
    assert composer.cells[0].mix == before[1].mix  # undo shows what it leads back to
    composer.choose(0)
    assert (composer.cells, composer.path) == (before, path)
    composer.choose(_number(composer, Kind.COLOUR))
    assert any(name.startswith("@") for name, _ in composer.cells[1].mix.weights)
    composer.choose(_number(composer, Kind.DONE))
    assert composer.is_done
    assert composer.table["path"][-1]["kind"] == "done"
    assert composer.table["prompt"].startswith("a ")


def test_the_same_choices_give_the_same_offers(gallery: Gallery) -> None:
    one, other = (Composer(gallery, n_cells=12, seed=9) for _ in range(2))
    for _ in range(6):
        number = one.simulated(3)
        assert other.simulated(3) == number
        one.choose(number)
        other.choose(number)
        assert one.cells == other.cells
        if one.is_done:
            break
    assert one.is_done
