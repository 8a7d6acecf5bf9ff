"""Where EEG comes from: a recording, a stream in reach, or an object of MNE.

Owns the way from what a user has to a `Source`, which the live path reads. Readers and inlets are
`devices`'s and are imported when one is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigurationError
from pipeline.ports import Source

if TYPE_CHECKING:
    from configs import SessionConfig
    from devices.files.readers import Reader
    from pipeline.values import StreamInfo


def open_recording(
    path: Path | str, *, board: str | None = None, settings: SessionConfig | None = None
) -> Source:
    """Open a recording of any format in `list_formats`.

    Parameters
    ----------
    path : Path or str
        The file; of BrainVision and EEGLAB: the header.
    board : str, optional
        BrainFlow board (id or name) that recorded a CSV file which fits several.
    settings : SessionConfig, optional
        Whose `source` and `markers` say which of several streams are meant.

    Returns
    -------
    Source
        Its samples and events as a headset would have sent them; `close` it, or give it to
        `decode` or `cut_epochs`.

    Raises
    ------
    PhospheneError
        Not there, empty, unknown, truncated or damaged; or several streams may be meant.

    Examples
    --------
    >>> import numpy as np, phosphene
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "board.csv"
    >>> rows = np.zeros((50, 24))
    >>> rows[:, 0] = np.arange(50)
    >>> np.savetxt(path, rows, delimiter=",")
    >>> source = phosphene.open_recording(path, board="cyton_board")
    >>> source.streams["eeg"].sfreq, source.streams["eeg"].n_channels, source.is_live
    (250.0, 8, False)
    >>> source.close()
    """
    from devices.choosing import StreamChoice
    from devices.replay import RecordedSource

    choice = None if settings is None else StreamChoice(settings.source, settings.markers)
    return RecordedSource(path, board=board, choice=choice)


def open_stream(
    *,
    source_id: str | None = None,
    name: str | None = None,
    markers: str | None = None,
    settings: SessionConfig | None = None,
) -> Source:
    """Open an EEG stream in reach, and its markers, over LSL.

    Parameters
    ----------
    source_id, name : str, optional
        Which stream; None: the only one of type EEG.
    markers : str, optional
        source_id of the marker stream; None: the only one in reach, if there is one.
    settings : SessionConfig, optional
        The rest: labels and unit of a stream that sends none, `resolve_timeout` (s).

    Returns
    -------
    Source
        Live; `close` it.

    Raises
    ------
    PhospheneError
        None in reach fits, or several do.

    Examples
    --------
    >>> import phosphene
    >>> source = phosphene.open_stream(source_id="my-headset")  # doctest: +SKIP
    """
    from configs import SessionConfig
    from devices.lsl.inlet import LslSource

    given = settings or SessionConfig()
    wanted = {"source_id": source_id, "name": name}
    source = given.source.model_copy(update={k: v for k, v in wanted.items() if v is not None})
    update: Mapping[str, Any] = {} if markers is None else {"source_id": markers}
    return LslSource(source, given.markers.model_copy(update=update))


def list_streams(*, timeout: float = 1.0) -> tuple[StreamInfo, ...]:
    """LSL streams in reach, EEG and markers.

    Parameters
    ----------
    timeout : float
        How long to look, s.

    Examples
    --------
    >>> import phosphene
    >>> [stream.name for stream in phosphene.list_streams(timeout=0.5)]  # doctest: +SKIP
    ['obci_eeg1']
    """
    from devices.lsl.discovery import resolve

    return tuple(resolve(timeout))


def list_formats() -> dict[str, Reader]:
    """File formats that can be read, by name: ours, and those of installed plug-ins.

    Examples
    --------
    >>> import phosphene
    >>> phosphene.list_formats()["edf"].suffixes
    ('.edf', '.bdf')
    """
    from devices.files.readers import readers

    return {entry.plugin.name: entry.reader for entry in readers()}


def simulate(*, duration: float = 60.0, settings: SessionConfig | None = None) -> Source:
    """Make a virtual person who looks at pictures of the gallery, without waiting for them.

    A physical model of a head whose responses carry a code that the shipped decoder was trained
    on: it shows that everything works, and nothing of what EEG can do.

    Parameters
    ----------
    duration : float
        Time over which pictures are shown, s.
    settings : SessionConfig, optional
        `simulation` (person, board, `snr`), `stimuli` and `seed`.

    Returns
    -------
    Source
        Not live; the markers carry the labels.

    Examples
    --------
    >>> import phosphene
    >>> source = phosphene.simulate(duration=5.0)
    >>> len(source.streams["eeg"].ch_names)
    32
    >>> source.close()
    """
    from app.runtime.launch import simulated_source
    from configs import SessionConfig

    return simulated_source(settings or SessionConfig(), duration=duration)


def from_mne(inst: Any, *, name: str = "mne") -> Source:
    """Make a source of an MNE `Raw` or `Epochs` object.

    The samples pass through the live path as if a headset sent them: volts become microvolts, in
    float32, and the filter of the settings is causal. Give data that was not filtered before, or
    settings without a filter (`filter={"l_freq": None, "h_freq": None, "notch_freqs": []}`).

    Parameters
    ----------
    inst : mne.io.BaseRaw or mne.BaseEpochs
        Of a `Raw` the annotations are the events (`BAD_...` marks bad stretches), else its
        trigger channel. Each of the `Epochs` is a recording of its own, one after the other, with
        its event at time 0: the filter settles anew in each, so that an epoch which begins too
        late before its event ends as `settling`. Their samples lie on a clock of their own.
    name : str
        What the source is called in sentences.

    Returns
    -------
    Source
        Not live; can be read once.

    Raises
    ------
    PhospheneError
        It is neither, or holds no EEG channel.

    Examples
    --------
    >>> import mne, numpy as np, phosphene
    >>> info = mne.create_info(["O1", "Oz", "O2"], 250.0, "eeg")
    >>> raw = mne.io.RawArray(1e-5 * np.ones((3, 1000)), info, verbose="ERROR")
    >>> source = phosphene.from_mne(raw)
    >>> source.streams["eeg"].ch_units
    ('microvolts', 'microvolts', 'microvolts')
    >>> source.close()
    """
    from devices.files.mne_objects import as_recording
    from devices.replay import RecordedSource

    return RecordedSource(as_recording(inst, name=name))


def as_source(given: object, settings: SessionConfig) -> tuple[Source, bool]:
    """The source that is meant by a path, an MNE object or a source; and whether it is ours."""
    if isinstance(given, str | Path):
        return open_recording(given, settings=settings), True
    if isinstance(given, Source):
        return given, False
    from devices.files.mne_objects import is_mne

    if not is_mne(given):
        raise ConfigurationError(
            f"a {type(given).__name__} was given, expected the path of a recording, a source "
            "(open_recording, open_stream) or an MNE Raw or Epochs object."
        )
    return from_mne(given), True
