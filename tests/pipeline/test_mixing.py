"""Mixtures of pictures as text: read, added to, and refused."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from pipeline.gallery import load_gallery
from pipeline.mixing import DIRECTIONS, Mix, Mixing


@pytest.fixture(scope="module")
def mixing() -> Mixing:
    return Mixing(load_gallery())


def test_a_mixture_is_its_text_again(mixing: Mixing) -> None:
    mix = Mix.of("cat").plus("tulip", 0.4, keeps=0.6).plus("@red", 0.5)
    assert mix.label == "0.6*cat + 0.4*tulip + 0.5*@red"
    assert mixing.read(mix.label) == mix
    assert np.linalg.norm(mixing.vector(mix.label)) == pytest.approx(1.0, abs=1e-6)
    assert Mix.of("cat").label == "cat"


def test_a_blend_lies_between_what_it_is_of(mixing: Mixing) -> None:
    cat, tulip = mixing.vector("cat"), mixing.vector("tulip")
    blend = mixing.vector("0.5*cat + 0.5*tulip")
    assert min(blend @ cat, blend @ tulip) > cat @ tulip


def test_every_direction_leads_towards_pictures_that_show_it(mixing: Mixing) -> None:
    assert len({mixing.vector(f"1*@{name}").tobytes() for name in DIRECTIONS}) == len(DIRECTIONS)
    redder, greener = mixing.vector("1*house + 0.8*@red"), mixing.vector("1*house + 0.8*@green")
    red, green = mixing.vector("strawberry"), mixing.vector("broccoli")
    assert redder @ red - redder @ green > greener @ red - greener @ green


@pytest.mark.parametrize("text", ["", "no-such", "0.5*no-such", "x*cat", "1e9*cat", "1*@sour", "*"])
def test_what_is_no_mixture_is_refused_in_one_line(mixing: Mixing, text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no picture of the gallery") as caught:
        mixing.read(text)
    assert "\n" not in str(caught.value)
