"""The settings of a session, as frozen models.

Owns names, defaults, units (in each field's docstring) and the rules between fields. A default
stands here and nowhere else; a preset is a TOML file that changes some.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from configs.units import UnitName

_SERVER = re.compile(
    r"(?:https://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])|"
    r"http://(?:localhost|127\.[0-9.]+|\[::1\])):([0-9]{1,5})"
)
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
"""`HOST:PORT`; an IPv6 address stands in brackets."""


def _is_port(digits: str) -> bool:
    return 0 < int(digits) <= 65535


class _Frozen(BaseModel):
    """Immutable, and strict about names: a misspelt key is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, table: Any) -> Any:
        """TOML has no null: the word `none` turns off a setting whose default is on."""
        if not isinstance(table, dict):
            return table
        fields = cls.model_fields
        return {
            key: None
            if value == "none" and key in fields and fields[key].default is not None
            else value
            for key, value in table.items()
        }

    @field_validator("*", mode="before")
    @classmethod
    def _keep_flags(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `"yes"` or 1 for a flag, and a flag for a number: TOML has both."""
        is_flag = cls.model_fields[str(info.field_name)].annotation is bool
        if is_flag and not isinstance(value, bool):
            raise PydanticCustomError("flag", "Input should be true or false, without quotes")
        if isinstance(value, bool) and not is_flag:
            raise PydanticCustomError("no_flag", "Input should not be true or false")
        return value

    def to_table(self) -> dict[str, Any]:
        """Settings as TOML can hold them; `load_config` gives the same settings back."""
        table: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, _Frozen):
                table[name] = value.to_table()
            elif value is not None:
                table[name] = list(value) if isinstance(value, tuple) else value
            elif field.default is not None:
                table[name] = "none"
        return table


class SourceConfig(_Frozen):
    """Which EEG stream to read, and what it does not say of itself."""

    name: str | None = None
    """LSL stream name; None: any."""
    type: str = "EEG"
    """LSL stream type; also the type of the channels that are read where none is EEG (`fMRI`)."""
    source_id: str | None = None
    """LSL source_id; None: any."""
    ch_names: tuple[str, ...] = ()
    """Labels of the stream's channels, for a stream that sends none (the OpenBCI GUI's); wins over
    the stream's own labels when given."""
    unit: Literal["", UnitName] = ""
    """Unit of the samples, for a stream that does not say; empty: the stream's own word."""
    picks: tuple[str, ...] = ()
    """Channels to use, by label; empty: all of type EEG, or of `type` where there are none."""
    own_names: bool = True
    """Know caps with names of their own (A1 to D32): a channel that is picked by its site (`PO7`)
    is called by it, and one that is only called like a site (`C3`) is taken for none."""
    counter_channel: str | None = None
    """Label of a channel that counts samples, by which loss is exact; None: from stamps."""
    sfreq: float | None = Field(default=None, gt=0)
    """Rate in Hz for a stream that declares none or a wrong one; None: the stream's own."""
    resolve_timeout: float = Field(default=10.0, gt=0, le=600)
    """How long to look for the stream, s."""
    chunk_ms: float = Field(default=20.0, gt=0, le=1000)
    """Longest wait of one pull, ms: data is handed on at least this often."""
    any_host: bool = False
    """Take a lost stream's namesake on another machine for the stream that has returned."""
    follow_arrival: bool = True
    """Where stamps jump and no clock probe explains it, take the clock from the samples' arrival.
    Off: sessions that were recorded before this existed."""
    clock: Literal["lsl", "unix"] = "lsl"
    """Clock of the sender's stamps: `unix` for a program on this machine that stamps with the
    time since 1970 instead of LSL's clock."""


class MarkersConfig(_Frozen):
    """Which marker stream to read."""

    name: str | None = None
    """LSL name of the marker stream; None with `source_id` None: the session's own stimuli, else
    the only marker stream in reach, else none."""
    source_id: str | None = None
    """LSL source_id of the marker stream."""
    stimulus_offset_ms: float = Field(default=0.0, ge=-1000, le=1000)
    """Added to every marker's stamp, ms: the display's measured lag."""
    event_id: tuple[str, ...] = ()
    """Labels to decode; others end as `ignored`. Empty: all."""
    column: str = ""
    """Name or number (from 1) of the column that holds the label, of markers with several
    (value, time, duration). Empty: the first of text; of numbers the one that is not 0."""


class FilterConfig(_Frozen):
    """The causal filter in front of the epochs (Butterworth, second-order sections)."""

    l_freq: float | None = Field(default=0.5, gt=0)
    """Lower edge (-3 dB), Hz; None: none."""
    h_freq: float | None = Field(default=40.0, gt=0)
    """Upper edge (-3 dB), Hz; None: none."""
    order: int = Field(default=2, ge=1, le=8)
    """Order of each edge."""
    notch_freqs: tuple[float, ...] = (50.0,)
    """Line frequencies to remove, Hz; use 60 in the Americas."""
    notch_q: float = Field(default=30.0, gt=0, le=200)
    """Quality factor of the notch: centre over -3 dB width."""

    @model_validator(mode="after")
    def _edges_in_order(self) -> FilterConfig:
        if self.l_freq is not None and self.h_freq is not None and self.l_freq >= self.h_freq:
            raise ValueError(f"l_freq ({self.l_freq} Hz) must lie below h_freq ({self.h_freq} Hz)")
        return self


class EpochsConfig(_Frozen):
    """How the stream is cut."""

    mode: Literal["event", "free"] = "event"
    """`event`: an epoch a marker; `free`: sliding windows without markers."""
    tmin: float = Field(default=-0.2, ge=-10, le=0)
    """Start from onset, s."""
    tmax: float = Field(default=0.8, gt=0, le=10)
    """End from onset, s."""
    baseline: tuple[float, float] | None = (-0.2, 0.0)
    """Interval whose mean is subtracted, s; None: none."""
    reject_uv: dict[str, float] = Field(default_factory=lambda: {"eeg": 250.0})
    """Largest peak-to-peak by channel type, microvolts; an empty table rejects nothing."""
    flat_uv: dict[str, float] = Field(default_factory=dict)
    """Smallest peak-to-peak by channel type, microvolts."""
    leave_out: bool = True
    """Leave a channel out while it is hopeless (no numbers, or mostly beyond `reject_uv`), instead
    of refusing every epoch for it. Off: sessions that were recorded before this existed."""
    leave_out_share: float = Field(default=0.0, ge=0, le=0.5)
    """Largest share of its channels that an epoch may lack because they alone swing beyond
    `reject_uv`; 0: one such channel refuses it. For decoders that can do without some."""
    fill_missing: bool = False
    """Let 0 stand for a value that is no number, where up to half of an epoch's channels lack one:
    of z-scored voxels that is their mean. Off: such a channel is left out, or refuses the epoch."""
    step: float = Field(default=0.5, gt=0)
    """Free-running mode: time between windows, s."""
    max_future: float = Field(default=10.0, gt=0)
    """A marker further ahead of the data than this is refused, s."""
    max_pending: int = Field(default=4096, ge=1)
    """Markers that may wait for their data; more are refused as `overload`."""

    @model_validator(mode="after")
    def _baseline_inside(self) -> EpochsConfig:
        if self.baseline is not None:
            low, high = self.baseline
            if not self.tmin <= low < high <= self.tmax:
                raise ValueError(
                    f"baseline {self.baseline} must lie inside [tmin, tmax] = "
                    f"[{self.tmin}, {self.tmax}]"
                )
        return self


class DecoderConfig(_Frozen):
    """Which system decodes and draws."""

    enabled: bool = True
    """Decode and draw; off: epochs are only cut and counted (calibration), no model is loaded."""
    system: str = "embedded"
    """Name as `phosphene systems` lists it."""
    weights: str | None = None
    """Folder of the weights; None: the ones that are installed."""
    generator: str | None = None
    """What draws: a name as `phosphene systems` lists it, or a folder of its weights (or one
    .safetensors file); None: the system's own."""
    vae: Literal["auto", "tiny", "full"] = "auto"
    """Which autoencoder of a Stable Diffusion decodes: `tiny` (fast, loses fine detail), `full`,
    or `auto`: the tiny one where its weights lie in the folder."""
    adapter: str | None = None
    """Folder of the person's adapter; None: zero-shot."""
    rank_classes: bool = True
    """Rank the classes of an adapter that decodes classes. Off: the gallery's pictures, as sessions
    did that were recorded before this existed."""
    doubt_session: bool = True
    """Draw a whole session as fog whose brain is like none that the decoder knows, and nothing
    sharper behind `align` than without it. Off: sessions that were recorded before this existed."""
    align: bool = False
    """Follow the person from the first epoch on, without labels: the noise between channels and,
    without an adapter, when the brain answers. What was learnt of earlier epochs decides over
    later ones, so their order counts."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the past in what a free-running window is decoded and drawn as: an exponential mean
    of embeddings, confidence and classes, drawn from one noise, so that pictures move instead of
    jumping. 0.8 looks back some five windows. Begins anew with another adapter, an alignment's
    reset and after a break; 0: each window by itself."""
    between: int = Field(default=0, ge=0, le=8)
    """Pictures that are drawn between two of a smoothed session, each as the mean with a part of
    the newest window, for a view that moves through them: as many as fit between two windows.
    Live only, never recorded; without smoothing, or at 0: none."""
    generator_revision: Literal[1, 2, 3, 4] = 4
    """How the embedded generator draws: 1 to 3 as in sessions that were recorded with them (3 with
    the weights of 2, the UNet's correction in part and a flat background); 4 by a sharper decoder.
    No other system has this."""
    blend: bool = True
    """The embedded generator draws an embedding that lies between two pictures it knows as one
    thing: the shape of one in the colours of the other. Off: as both, one over the other, and
    sessions that were recorded before this existed."""
    graph_revision: Literal[1, 2, 3] = 3
    """In which steps an engine computes the embedded generator's networks: 1 and 2 as in sessions
    that were recorded with them, 3 what does not change from step to step once a picture. Pictures
    of one are not those of another to the bit, but for eager's, which are all the same."""
    own_pictures: bool = True
    """The embedded generator draws what is nearest to a picture of a gallery of your own from that
    picture, behind fog by confidence. Off: as it draws what it never saw, a cloud of colours, and
    sessions that were recorded before this existed."""
    size: Literal[128, 256] = 128
    """Side of the embedded generator's pictures, pixels. 256: a second small network adds to what
    was drawn at 128, and takes some 60 % longer. No other system has this."""
    num_inference_steps: int = Field(default=1, ge=1, le=1000)
    """Steps of the sampler. The shipped generator is sharpest in one; more add grain yet."""
    guidance_scale: float | None = Field(default=None, ge=1, le=30)
    """Classifier-free guidance; 1: none; None: as the system's weights are set."""
    queue_size: int = Field(default=4, ge=1, le=256)
    """Event epochs that may wait for the decoder, also while it loads; one more ends as
    `overload`."""
    max_batch: int = Field(default=1, ge=1, le=64)
    """Live epochs that wait for the decoder and are drawn in one call, at most; 1: each alone. What
    waits alone is drawn alone. A batch's pictures come together, when the last is done, which is
    sooner for all of them and later for the first; the recording says who shared one, so that a
    replay repeats its bits. `decoder.queue_size` bounds it. Engines are for one picture, so that
    only `backend = "eager"` has batches, and only generators that know them: the embedded one."""
    policy: Literal["auto", "queue", "newest"] = "auto"
    """What an epoch does that comes while a picture is drawn: `queue` waits in line, `newest` takes
    the place of the one that waits. `auto`: `queue` for events; windows without markers wait in
    line as well, and a full line gives its oldest up."""
    max_wait: float | None = Field(default=5.0, gt=0, le=3600)
    """An epoch that waits longer for the decoder, or whose picture comes later than usual by more,
    ends as `overload`, s; None: however old, it is drawn. Where pictures take long, it is as
    long as one and a half of them take. Live only: a replay repeats what the recorded session
    refused."""
    spare: bool = True
    """Keep a second process of the decoder at hand in a live session, so that one that dies is
    back in a second or two; takes some 400 MB of memory."""
    threads: int = Field(default=1, ge=1, le=256)
    """CPU threads of the decoder: pictures are bit-identical for the same count only."""
    device: str = Field(default="cpu", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """Where pictures are drawn: `cpu`, `cuda`, `cuda:1`, `mps`; `auto`: a GPU where there is one.
    Pictures of one device are not those of another to the bit."""
    low_memory: bool = False
    """Decode pictures in tiles (the memory of one, and seams that one has to look for), where the
    generator's autoencoder can; on a GPU, parts of a Stable Diffusion that do not work wait on the
    CPU. A session turns this on by itself where a picture does not fit, and says so. The embedded
    model's pictures are too small to gain."""
    tile: int = Field(default=0, ge=0, le=4096, multiple_of=64)
    """Side of these tiles, pixels; 0: as the autoencoder was made, often as large as a picture."""
    backend: Literal[
        "eager", "trace", "inductor", "openvino", "onnxruntime", "tensorrt", "auto"
    ] = "eager"
    """What runs the networks: torch itself (`eager`), or an engine that is checked against it;
    `auto`: the fastest that is here, written into `session.toml` by its name. Pictures of one
    back-end are not those of another to the bit."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Type that the networks compute in; `auto`: the back-end's own choice."""
    build: Literal["auto", "first", "meanwhile"] = "auto"
    """When an engine is built that is asked for by name and not there yet: before the first epoch
    (`first`), or while eager draws, until it takes over between two epochs (`meanwhile`). `auto`:
    `meanwhile` in a live session, else `first`. Engines that live in one process only (trace,
    Inductor) are always made first."""
    remote: str | None = None
    """Address of a decoding server (`phosphene serve`), `https://HOST:PORT`: epochs are sent there
    and leave this machine; None: they stay. Where the server goes, they are decoded here until it
    is back. `http://` to this machine itself only."""
    ticket: str | None = Field(default=None, min_length=1)
    """File of the ticket for that server; None: where `phosphene serve` puts it on its own
    machine."""
    control: bool = False
    """Draw a noise control beside each picture, into `controls/`: the same decoder on the same
    epoch with its phases scrambled. Doubles the time of a picture."""

    @field_validator("remote")
    @classmethod
    def _is_a_server(cls, value: str | None) -> str | None:
        found = None if value is None else _SERVER.fullmatch(value)
        if value is not None and not (found and _is_port(found[1])):
            raise PydanticCustomError(
                "server",
                "expected https://HOST:PORT with a port of 1 to 65535, as the ticket names it "
                "(http:// to this machine only, as http://127.0.0.1:7447), and nothing else",
            )
        return value


class RecordingConfig(_Frozen):
    """The recorder."""

    enabled: bool = True
    """Write `recording.xdf`."""
    clock_offset_interval: float = Field(default=5.0, gt=0)
    """Time between clock probes, s."""
    boundary_interval: float = Field(default=10.0, gt=0)
    """Time between XDF boundary chunks, s."""
    min_free_mb: float = Field(default=200.0, ge=0)
    """Free disk space below which a warning is shown, MB."""
    fallback: str | None = None
    """Folder where the recording goes on, from up to 30 s before, when its own fails (disk full,
    unplugged, read-only); None: it waits in memory until its own is back."""


class OutletsConfig(_Frozen):
    """What a live session publishes over LSL beside its files."""

    enabled: bool = True
    """Publish embeddings, decoded events (JSON) and the channels' quality."""
    prefix: str = Field(default="phosphene", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Beginning of the streams' names: `<prefix>-embedding`, `-events`, `-quality`, `-codes`. Every
    session has its own `source_id`; another prefix tells two on one machine apart by name, too."""
    codes: bool = True
    """Publish every marker as a number, too, for programs that take no text (MNE-LSL's
    `EpochsStream`): the stream's header and `summary.json` say which number is which label."""


class OutputsConfig(_Frozen):
    """What a live session sends to other programs beside LSL; nothing unless it is asked for."""

    osc: str | None = None
    """Send embedding, class, confidence and the channels' quality as OSC to this `HOST:PORT` (UDP);
    None: not. Needs the extra `osc`."""
    feed: int | None = Field(default=None, ge=0, le=65535)
    """Port of this machine where pictures and events can be watched with a browser or as MJPEG, for
    programs on this machine that have the token; 0: a free one; None: no such feed."""
    lab_recorder: str | None = None
    """Let a running LabRecorder record along: `HOST:PORT` of its remote control (port 22345)."""

    @field_validator("osc", "lab_recorder")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        found = None if value is None else _ADDRESS.fullmatch(value)
        if value is not None and not (found and _is_port(found[1])):
            raise PydanticCustomError(
                "address",
                "expected HOST:PORT with a port of 1 to 65535, an IPv6 address in brackets",
            )
        return value


class StimuliConfig(_Frozen):
    """The stimuli that the app itself shows (demo, calibration)."""

    enabled: bool = False
    """Show stimuli and publish their markers."""
    soa: float = Field(default=1.25, gt=0.05, le=60)
    """Time from onset to onset, s."""
    duration: float = Field(default=0.5, gt=0, le=60)
    """How long a picture stays, s."""
    jitter: float = Field(default=0.15, ge=0, le=10)
    """Largest random addition to `soa`, s."""
    kinds: tuple[Literal["upright", "inverted", "checkerboard"], ...] = ("upright",)
    """Kinds of gallery stimuli that are shown and identified among."""
    labels: tuple[str, ...] = ()
    """Gallery labels to show and identify among; empty: all of `kinds`."""
    screen: int | None = Field(default=None, ge=1, le=64)
    """Screen of the stimulus window, counted from 1; None: the first without the main window."""
    photodiode: Literal["off", "top-left", "top-right", "bottom-left", "bottom-right"] = "off"
    """Corner of a square that is white while a picture is on and black otherwise."""
    photodiode_px: int = Field(default=80, ge=8, le=1000)
    """Side of that square, pixels."""


class SimulationConfig(_Frozen):
    """The virtual headset of the demo."""

    board: str = "cap32"
    """`cyton`, `daisy`, `cap32` or `cap63`."""
    sfreq: float | None = Field(default=None, gt=0)
    """Rate, Hz; None: the board's own."""
    subject_number: int = Field(default=1001, ge=0)
    """Virtual person; 0-999 are the training pool, 1000 and above were never trained on."""
    snr: float = Field(default=1.0, ge=0)
    """Factor on the simulated responses. Each is made of its picture's own embedding by the code
    that the decoder was trained on; 1: as trained, far more than a trial of real EEG tells; 0: no
    information at all (the control)."""


SCHEMA_VERSION = 1
"""Of the settings' layout; a file of another one is taken as far as it is understood."""


class SessionConfig(_Frozen):
    """Everything that a session is set to; saved beside its output as `session.toml`."""

    schema_version: Literal[1] = 1
    """Version of this layout."""
    preset: str = "default"
    """Name of the preset that it came from."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of stimuli and pictures."""
    subject: str = Field(default="anonymous", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Subject code, no name: letters, digits, `_`, `-`."""
    gallery: str | None = Field(default=None, min_length=1)
    """Pictures that are shown and identified among: a folder, or the name of a registered gallery;
    None: the shipped one."""
    retrieval: str | None = Field(default=None, min_length=1)
    """Store of vectors whose nearest to each decoded one are shown beside its picture: a folder
    that `phosphene gallery make TABLE` made; None: none."""
    buffer: float = Field(default=60.0, ge=5, le=3600)
    """Length of the ring, s."""
    source: SourceConfig = SourceConfig()
    markers: MarkersConfig = MarkersConfig()
    filter: FilterConfig = FilterConfig()
    epochs: EpochsConfig = EpochsConfig()
    decoder: DecoderConfig = DecoderConfig()
    recording: RecordingConfig = RecordingConfig()
    outlets: OutletsConfig = OutletsConfig()
    outputs: OutputsConfig = OutputsConfig()
    stimuli: StimuliConfig = StimuliConfig()
    simulation: SimulationConfig = SimulationConfig()

    @model_validator(mode="after")
    def _epoch_fits_buffer(self) -> SessionConfig:
        if self.decoder.smoothing and self.epochs.mode != "free":
            raise ValueError(
                f"decoder.smoothing is {self.decoder.smoothing:g}, expected 0 unless epochs.mode "
                "is 'free': each marker has a picture of its own"
            )
        length = self.epochs.tmax - self.epochs.tmin
        if length > self.buffer / 2:
            raise ValueError(
                f"an epoch of {length:g} s needs a buffer of at least {2 * length:g} s, "
                f"not {self.buffer:g} s"
            )
        return self
