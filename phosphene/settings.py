"""Settings of the live path and the decoder, as the commands take them.

Owns no rule: the settings are `configs`'s, with their units and defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import ConfigError, SessionConfig, load_config, load_preset
from configs import list_presets as _presets
from configs.loading import validate
from pipeline.errors import ConfigurationError


def list_presets() -> tuple[str, ...]:
    """Names of the presets that `load_settings` knows.

    Examples
    --------
    >>> import phosphene
    >>> "default" in phosphene.list_presets()
    True
    """
    return _presets()


def load_settings(
    preset: str | Path = "default", **tables: Mapping[str, Any] | str | int | float
) -> SessionConfig:
    """Load settings: a preset, or a TOML file such as a session's `session.toml`.

    Parameters
    ----------
    preset : str or Path
        Name of a preset, or a path that ends in `.toml`.
    **tables : mapping or value
        What is to be otherwise, by table as in the file; `None` in a table: none.

    Returns
    -------
    SessionConfig
        Frozen.

    Raises
    ------
    PhospheneError
        The preset is unknown, the file cannot be read, or a value breaks its rule.

    Examples
    --------
    >>> import phosphene
    >>> settings = phosphene.load_settings(epochs={"tmax": 1.0}, filter={"notch_freqs": [60.0]})
    >>> settings.epochs.tmax, settings.filter.notch_freqs, settings.filter.h_freq
    (1.0, (60.0,), 40.0)
    """
    try:
        is_file = str(preset).endswith(".toml")
        settings = load_config(Path(preset)) if is_file else load_preset(str(preset))
        table = settings.model_dump()
        for name, given in tables.items():
            table[name] = {**table.get(name, {}), **given} if isinstance(given, Mapping) else given
        return validate(table, where="load_settings")
    except ConfigError as error:
        raise ConfigurationError(str(error)) from None
