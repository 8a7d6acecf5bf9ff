"""Composing: every choice is the start of the next, and undo is a cell."""

from __future__ import annotations

import pytest

from app.attend.composing import Composer, Kind
from app.attend.things import Thing
from models.embedded.blends import find_blend
from pipeline.gallery import Gallery, load_gallery
from pipeline.mixing import Mixing


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
    composer = Composer(gallery, n_cells=20, seed=2, arithmetic=1)
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


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_whatever_is_chosen_is_one_thing_of_two_pictures(gallery: Gallery, seed: int) -> None:
    composer = Composer(gallery, n_cells=20, seed=seed)
    mixing = Mixing(gallery)
    rows = {label: row for row, label in enumerate(load_gallery().labels)}
    changes = []
    for kind in (Kind.ZOOM, Kind.START, Kind.BLEND, Kind.COLOUR, Kind.NEIGHBOUR, Kind.STYLE):
        composer.choose(_number(composer, kind))
        thing = composer.path[-1].thing
        assert kind is Kind.ZOOM or (thing is not None and thing.mix == composer.mix)
        changes += [cell for cell in composer.cells if cell.thing is not None]
    for cell in changes:
        assert cell.thing is not None
        found = find_blend(mixing.vector(cell.mix.label), seed=seed)
        drawn = None if found is None else (found.shape, found.colours)
        colours = cell.thing.colours
        assert drawn == ((rows[cell.thing.shape], rows[colours]) if colours else None)


def test_the_newest_colours_win_and_the_prompt_says_every_choice() -> None:
    church = Thing("church").like("mosque")
    assert church.mix.label == "0.62*church + 0.38*mosque"
    light = church.looking("light", ("church", "pearl"))
    assert (light.colours, light.prompt) == ("pearl", "a church in the colours of a mosque, light")
    assert light.looking("dark", ("spider",)).looks == ("dark",)
    assert light.reshaped("castle").prompt == "a castle in the colours of a mosque, light"
    assert light.like("rose") == Thing("church", "rose", "rose")
    assert church.reshaped("mosque").mix.label == "mosque"
