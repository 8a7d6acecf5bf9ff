"""Systems by entry point, and the generator chosen apart from the encoder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.view_models.settings.model import SettingsModel
from configs import DecoderConfig, SessionConfig
from models.api import InputSpec
from models.generators import choose_generator
from models.registry import UnknownSystemError, find_system, names_with, read_registry
from models.systems import import_system, load_sampler, load_system
from pipeline.gallery import SPACE
from pipeline.values import Info
from tests.conformance.plugin import on_path, write_example

DESCRIBED = """
from models.api import SystemDescriptor
ONE = SystemDescriptor(name="one", title="One", encoder="nowhere:load", space="mine")
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    write_example(tmp_path / "site")
    with on_path(tmp_path / "site"):
        yield tmp_path / "site"


def _register(site: Path, name: str, *lines: str, code: str = DESCRIBED) -> None:
    """Another distribution beside the example."""
    (site / f"{name}.py").write_text(code)
    about = site / f"{name}-2.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (about / "entry_points.txt").write_text("[phosphene.systems]\n" + "\n".join(lines) + "\n")


def test_ours_come_first_and_toys_are_not_shown(site: Path) -> None:
    systems = read_registry().systems
    assert list(systems)[-3:] == ["lab-fmri", "lab-linear", "lab-tiles"]
    assert systems["lab-fmri"].distribution == "lab-decoder 1.0"
    assert systems["embedded"].distribution == ""
    assert "atm-toy" in systems
    assert "atm-toy" not in names_with("encoder")
    assert set(names_with("sampler", are_listed=False)) >= {"atm-toy", "lab-tiles", "embedded"}
    form = SettingsModel(SessionConfig()).form()
    assert "lab-tiles" in form.known["decoder.generator"]
    assert "lab-tiles" not in form.known["decoder.system"]
    assert "lab-fmri" in form.known["decoder.system"]


def test_what_cannot_be_registered_is_left_out_and_named(site: Path) -> None:
    lines = ("Big Name = other:ONE", "lab-linear = other:ONE", "embedded = other:ONE")
    _register(site, "other", *lines, "two = other:ONE")
    registry = read_registry()
    assert registry.systems["embedded"].distribution == ""
    assert registry.systems["lab-linear"].distribution == "lab-decoder 1.0"
    assert "two" not in registry.systems
    for words in (
        "'Big Name' of other 2.0 (phosphene.systems) is left out: expected a name of small letters",
        "'embedded' of other 2.0 (phosphene.systems) is left out: phosphene has that name already",
        "'lab-linear' of other 2.0 (phosphene.systems) is left out: lab-decoder 1.0 has that name",
        "'two' of other 2.0 (phosphene.systems) describes a system of another name",
    ):
        assert any(words in problem for problem in registry.problems), words
    assert len(registry.problems) == 4


def test_finding_one_imports_no_other(site: Path) -> None:
    _register(site, "other", "one = other:ONE", code="raise RuntimeError('boom')")
    assert find_system("lab-linear").descriptor.title == "A lab's own decoder"
    assert "other" not in sys.modules
    with pytest.raises(UnknownSystemError, match=r"'one' of other 2\.0 .* RuntimeError: boom"):
        find_system("one")


def test_a_plugin_that_fails_while_loading_is_named(site: Path) -> None:
    _register(site, "other", "one = other:ONE")
    with pytest.raises(UnknownSystemError, match=r"'one' of other 2\.0 failed: ModuleNotFound"):
        load_system(DecoderConfig(system="one", generator="lab-tiles"))
    code = DESCRIBED.replace("nowhere:load", "other:load") + "\ndef load(config):\n    return 3\n"
    (site / "other.py").write_text(code)
    sys.modules.pop("other", None)
    with pytest.raises(UnknownSystemError, match=r"is none as models\.api describes it"):
        load_system(DecoderConfig(system="one", generator="lab-tiles"))


@pytest.mark.parametrize(
    ("system", "generator", "found"),
    [
        ("embedded", None, "embedded"),
        ("embedded", "lab-tiles", "lab-tiles"),
        ("lab-fmri", None, "lab-tiles"),
        ("lab-fmri", "embedded", "embedded"),
    ],
)
def test_generators_by_name(site: Path, system: str, generator: str | None, found: str) -> None:
    config = DecoderConfig(system=system, generator=generator, weights="/somewhere")
    chosen, weights = choose_generator(config)
    assert chosen.descriptor.name == found
    assert weights == ("/somewhere" if found == system else None)
    import_system(config)


def test_a_folder_says_whose_it_is(site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    config = DecoderConfig(generator=str(folder))
    assert choose_generator(config)[0].descriptor.name == "embedded"
    (folder / "config.json").write_text(json.dumps({"system": "dreamdiffusion"}))
    assert choose_generator(config)[0].descriptor.name == "dreamdiffusion"
    (folder / "system.json").write_text(json.dumps({"generator": "lab-tiles"}))
    found, weights = choose_generator(config)
    assert (found.descriptor.name, weights) == ("lab-tiles", str(folder))
    assert load_sampler(config).spec.name == "lab-tiles"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (DecoderConfig(system="nix"), "system 'nix' is unknown, expected one of atm, "),
        (DecoderConfig(system="lab-tiles"), "system 'lab-tiles' brings no encoder"),
        (DecoderConfig(generator="lab-fmri"), "generator 'lab-fmri' brings no sampler"),
        (DecoderConfig(generator="nix"), "generator 'nix' is unknown, expected one of atm, "),
        (DecoderConfig(generator="No/Where"), "neither a name that .* nor a folder"),
    ],
)
def test_what_is_not_there_is_one_sentence(site: Path, config: DecoderConfig, words: str) -> None:
    with pytest.raises(UnknownSystemError, match=words) as error:
        load_system(config)
    assert "\n" not in str(error.value)


def test_a_system_that_is_only_announced_cannot_run_yet(site: Path) -> None:
    _register(
        site, "other", "one = other:ONE", code=DESCRIBED.replace('encoder="nowhere:load", ', "")
    )
    with pytest.raises(UnknownSystemError, match="system 'one' cannot run yet"):
        load_system(DecoderConfig(system="one"))


def test_spaces_that_do_not_fit_are_refused_with_the_generators_that_would(site: Path) -> None:
    config = DecoderConfig(generator="dreamdiffusion-toy")
    with pytest.raises(UnknownSystemError) as error:
        load_system(config)
    sentence = str(error.value)
    assert f"embedded gives vectors of the space '{SPACE}'" in sentence
    assert "dreamdiffusion takes 'dreamdiffusion-context-77x32'" in sentence
    assert "choose decoder.generator = 'embedded' or 'lab-linear' or 'lab-tiles'" in sentence
    assert "\n" not in sentence


def test_a_pair_that_fits_draws(site: Path) -> None:
    system = load_system(DecoderConfig(generator="lab-tiles"))
    system.measure()
    assert (system.name, system.sampler.spec.name) == ("embedded", "lab-tiles")


def test_describing_imports_no_torch() -> None:
    code = (
        "import sys, models.registry as r; r.read_registry();"
        "sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_channels_that_an_encoder_cannot_read_are_said_before_it_tries() -> None:
    bold = InputSpec(0.5, kind="fmri", n_channels=2)
    assert bold.misfit(Info(("a", "b"), 0.5, ("fmri", "fmri"))) == ""
    found = bold.misfit(Info(("O1", "O2", "Oz"), 250.0))
    assert found.startswith(
        "reads 2 channels of type fmri, the session gives 3 of type eeg: choose"
    )
    assert bold.misfit(Info(("O1", "O2"), 250.0))
    assert bold.misfit(Info(("a",), 0.5, ("fmri",)))
    # Any montage will do, whatever its channels are called and typed.
    assert InputSpec(250.0).misfit(Info(("a",), 0.5, ("misc",))) == ""
