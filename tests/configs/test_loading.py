"""Settings: strict names, rules in one sentence, and a saved run that loads as it was."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from configs import (
    ConfigError,
    EpochsConfig,
    FilterConfig,
    SessionConfig,
    list_presets,
    load_config,
    load_preset,
    read_config,
)
from configs.described import described


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "session.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "session.toml") in message
    return message


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")) == SessionConfig()


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_loads_and_bears_its_name(name: str) -> None:
    assert load_preset(name).preset == name


def test_the_documented_presets_exist() -> None:
    assert {"default", "demo", "free-running"} <= set(list_presets())


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"preset 'nope' is unknown.*default, demo"):
        load_preset("nope")


@pytest.mark.parametrize("name", ["../default", "default.toml", "", "presets/default"])
def test_a_preset_is_a_name_not_a_path(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown"):
        load_preset(name)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("sead = 3", "sead", "3"),
        ("[filter]\nl_frq = 1.0", "filter.l_frq", "1.0"),
        ("seed = -1", "seed", "-1"),
        ("seed = 1.5", "seed", "1.5"),
        ('subject = "../../etc"', "subject", "'../../etc'"),
        ('subject = ""', "subject", "''"),
        ('[source]\nunit = "furlongs"', "source.unit", "'furlongs'"),
        ("[filter]\nl_freq = nan", "filter.l_freq", "nan"),
        ("[filter]\nl_freq = inf", "filter.l_freq", "inf"),
        ("[filter]\norder = 0", "filter.order", "0"),
        ("[epochs]\ntmin = 0.5", "epochs.tmin", "0.5"),
        ("[decoder]\nqueue_size = 0", "decoder.queue_size", "0"),
        ('[decoder]\nblend = "yes"', "decoder.blend", "'yes'"),
        ("[decoder]\nalign = 1", "decoder.align", "1"),
        ("[decoder]\ngenerator_revision = 9", "decoder.generator_revision", "9"),
        ("[decoder]\ngenerator_revision = true", "decoder.generator_revision", "True"),
        ("[simulation]\nsnr = true", "simulation.snr", "True"),
        ('schema_version = "2"', "schema_version", "'2'"),
    ],
)
def test_a_bad_setting_names_file_key_and_value(
    tmp_path: Path, text: str, key: str, value: str
) -> None:
    assert f"{key} = {value}" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (
            "[filter]\nl_freq = 40.0\nh_freq = 1.0",
            "l_freq (40.0 Hz) must lie below h_freq (1.0 Hz)",
        ),
        ("[epochs]\nbaseline = [-0.5, 0.0]", "must lie inside [tmin, tmax]"),
        ("[epochs]\nbaseline = [0.0, -0.1]", "must lie inside [tmin, tmax]"),
        ("buffer = 5\n[epochs]\ntmax = 4.0", "needs a buffer of at least"),
    ],
)
def test_rules_between_settings_say_what_must_hold(tmp_path: Path, text: str, rule: str) -> None:
    assert rule in refusal(tmp_path, text)


def test_further_faults_are_counted(tmp_path: Path) -> None:
    assert "(1 more)" in refusal(tmp_path, "a = 1\nb = 2")


def test_a_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, f'subject = "{"x" * 5000}"')) < 500


@pytest.mark.parametrize("text", ["a = ", "= 3", "[filter", "a = 1\na = 2"])
def test_what_is_not_toml_is_refused(tmp_path: Path, text: str) -> None:
    assert "not valid TOML" in refusal(tmp_path, text)


def test_a_missing_file_a_folder_and_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "session.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "session.toml")


def test_tables_that_describe_a_run_are_set_aside(tmp_path: Path) -> None:
    text = 'seed = 9\n[run]\nanything = 1\n[streams.eeg]\nname = "x"\n'
    assert load_config(write(tmp_path, text)) == SessionConfig(seed=9)


@pytest.mark.parametrize("name", list_presets())
def test_a_saved_run_loads_as_it_was(tmp_path: Path, name: str) -> None:
    config = load_preset(name)
    text = tomli_w.dumps(config.to_table() | {"run": {"versions": {"torch": "2.13"}}})
    assert load_config(write(tmp_path, text)) == config


def test_a_file_by_hand_changes_the_preset_that_it_names(tmp_path: Path) -> None:
    text = 'preset = "dreamdiffusion"\nseed = 9\n[epochs]\ntmax = 0.4\n'
    preset = load_preset("dreamdiffusion")
    epochs = preset.epochs.model_copy(update={"tmax": 0.4})
    expected = preset.model_copy(update={"seed": 9, "epochs": epochs})
    assert load_config(write(tmp_path, text)) == expected
    # A name that no preset has is a name, and what was saved is whole.
    assert load_config(write(tmp_path, 'preset = "own"\n')) == SessionConfig(preset="own")
    with pytest.raises(ConfigError, match=r"preset = 'picturs', expected .* such as 'pictures'"):
        load_config(write(tmp_path, 'preset = "picturs"\n'))
    for saved in ("schema_version = 1\n", ""):
        whole = f'{saved}preset = "dreamdiffusion"\n' + ("" if saved else "[run]\nseconds = 1\n")
        assert load_config(write(tmp_path, whole)).epochs == SessionConfig().epochs


def test_a_setting_that_was_cleared_stays_cleared_in_a_saved_preset(tmp_path: Path) -> None:
    demo = load_preset("demo")
    assert demo.markers.source_id is not None
    markers = demo.markers.model_copy(update={"source_id": None})
    cleared = demo.model_copy(update={"markers": markers})
    assert load_config(write(tmp_path, tomli_w.dumps(cleared.to_table()))) == cleared


optional_hz = st.none() | st.floats(0.01, 200)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**63 - 1),
    l_freq=optional_hz,
    h_freq=st.none() | st.floats(201, 400),
    notch=st.lists(st.floats(1, 200), max_size=3).map(tuple),
    labels=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    reject=st.dictionaries(st.sampled_from(["eeg", "eog"]), st.floats(1, 1000)),
    baseline=st.none() | st.just((-0.1, 0.0)),
)
def test_any_settings_survive_the_file_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    l_freq: float | None,
    h_freq: float | None,
    notch: tuple[float, ...],
    labels: tuple[str, ...],
    reject: dict[str, float],
    baseline: tuple[float, float] | None,
) -> None:
    config = SessionConfig(
        seed=seed,
        filter=FilterConfig(l_freq=l_freq, h_freq=h_freq, notch_freqs=notch),
        epochs=EpochsConfig(reject_uv=reject, baseline=baseline),
    )
    markers = config.markers.model_copy(update={"event_id": labels})
    config = config.model_copy(update={"markers": markers})
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(tomli_w.dumps(config.to_table()), encoding="utf-8")
    assert load_config(path) == config


@pytest.mark.parametrize(
    ("system", "run", "guidance"),
    [
        ("atm-multimodal", {}, None),  # written before guidance acted there
        ("atm", {"seed": 1}, None),
        ("atm-multimodal", {"options": {"guidance": 1.0}}, 1.0),
        ("embedded", {}, 1.0),  # where it always acted
    ],
)
def test_a_guidance_that_did_not_act_is_not_made_to_act(
    system: str, run: dict[str, Any], guidance: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "session.toml"
    run = {"numpy": "2"} | run
    decoder = {"system": system, "guidance_scale": 1.0, "num_inference_steps": 4}
    path.write_text(tomli_w.dumps({"decoder": decoder, "run": run}))
    found = load_config(path).decoder
    assert (found.guidance_scale, found.num_inference_steps) == (guidance, 4)


def test_one_step_is_the_default_everywhere() -> None:
    """The embedded model draws best in one; every preset of it says the same."""
    assert SessionConfig().decoder.num_inference_steps == 1
    embedded = [
        load_preset(name)
        for name in list_presets()
        if load_preset(name).decoder.system == "embedded"
    ]
    assert len(embedded) >= 4
    assert {preset.decoder.num_inference_steps for preset in embedded} == {1}


def test_settings_cannot_be_changed_after_they_were_checked() -> None:
    config = SessionConfig()
    with pytest.raises(ValidationError):
        config.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        config.filter.l_freq = 1.0  # type: ignore[misc]


def settings_classes(model: type[BaseModel]) -> list[type[BaseModel]]:
    found = [model]
    for info in model.model_fields.values():
        for kind in (info.annotation, *get_args(info.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found += settings_classes(kind)
    return found


def test_every_setting_is_documented_and_every_model_is_strict() -> None:
    classes = settings_classes(SessionConfig)
    assert len(classes) >= 9
    for model in classes:
        strict: dict[str, Any] = dict(model.model_config)
        assert strict["extra"] == "forbid"
        assert strict["frozen"]
        for name, info in model.model_fields.items():
            documented = described(model).get(name) or (
                isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
            )
            assert documented, f"{model.__name__}.{name} has no docstring"


def newer(tmp_path: Path, text: str) -> Path:
    return write(tmp_path, text + '\n[run]\nphosphene = "99.0"\n')


def test_r27_a_file_of_another_version_is_taken_as_far_as_it_is_known(tmp_path: Path) -> None:
    path = newer(
        tmp_path,
        "seed = 7\nmood = 3\n[filter]\nl_freq = 1.0\norder = 900\nshape = 'bessel'\n"
        "[epochs]\ntmin = 0.5\n[telepathy]\ngain = 2\n[source]\npicks = [1, 2]\n",
    )
    before = path.read_bytes()
    loaded = read_config(path)
    assert loaded.config.seed == 7
    assert loaded.config.filter == FilterConfig(l_freq=1.0)
    assert loaded.config.epochs == EpochsConfig(leave_out=False)
    keys = ("mood", "filter.order", "filter.shape", "epochs.tmin", "telepathy", "source.picks")
    for key in keys:
        (sentence,) = [w for w in loaded.warnings if f": {key} = " in w]
        assert str(path) in sentence
        assert "phosphene 99.0" in sentence
        assert "\n" not in sentence
    assert path.read_bytes() == before


def test_r27_a_file_of_another_schema_is_too(tmp_path: Path) -> None:
    loaded = read_config(write(tmp_path, "schema_version = 2\nseed = 5\nnew = true"))
    assert loaded.config == SessionConfig(seed=5)
    (sentence,) = loaded.warnings
    assert "schema 2" in sentence


def test_r27_this_versions_own_files_and_those_by_hand_stay_strict(tmp_path: Path) -> None:
    own = f'mood = 3\n[run]\nphosphene = "{version("phosphene")}"\n'
    assert "mood" in refusal(tmp_path, own)
    assert "mood" in refusal(tmp_path, "mood = 3\n")


def test_r27_a_note_stands_on_standard_error_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from app.commands.common import load

    assert load(None, newer(tmp_path, "mood = 3\nseed = 2")).seed == 2
    said = capsys.readouterr().err
    assert "mood = 3" in said
    assert len(said.strip().splitlines()) == 1


_values = st.one_of(
    st.integers(-9, 9), st.text("abc", max_size=3), st.booleans(), st.lists(st.integers(0, 3))
)
_tables = st.dictionaries(st.sampled_from(["tmin", "picks", "order", "x"]), _values)


@given(
    st.dictionaries(
        st.sampled_from(["seed", "source", "filter", "epochs", "buffer", "decoder", "y"]),
        st.one_of(_values, _tables),
    )
)
def test_r27_nothing_of_another_version_is_ever_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("newer") / "session.toml"
    path.write_text(tomli_w.dumps({**table, "run": {"phosphene": "0.0.1"}}), encoding="utf-8")
    assert isinstance(read_config(path).config, SessionConfig)


def test_a_session_of_before_leaves_no_channel_out(tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    path.write_text('[epochs]\ntmax = 0.7\n\n[run]\nphosphene = "0.0.1"\n')
    assert read_config(path).config.epochs.leave_out is False
    path.write_text("[epochs]\ntmax = 0.7\n")  # by hand: today's default
    assert read_config(path).config.epochs.leave_out is True
    path.write_text('[epochs]\nleave_out = true\n\n[run]\nphosphene = "0.0.1"\n')
    assert read_config(path).config.epochs.leave_out is True
