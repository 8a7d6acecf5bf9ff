"""What crosses the wire between a session and a decoding server: msgpack of plain, bounded values.

Owns the layout of every request and answer, and refuses what breaks it in one sentence: sizes,
types, numbers that are not finite, fields that nobody knows. Nothing is unpickled, and a length
that a stranger claims allocates nothing. What is not needed does not leave the machine: the
markers' labels, the session's clock and name stay. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgpack
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from app.errors import AppError
from app.runtime.messages import AdapterKey, Answer, Job, Overrides, Ready, Steer
from configs import DecoderConfig, FilterConfig
from configs.plain import plain
from models.api import EncoderSpec
from models.pace import Pace

MAX_BODY: Final = 32 << 20
"""Largest request or answer, bytes; an adapter's upload may be `MAX_ADAPTER`."""
MAX_ADAPTER: Final = 72 << 20
MAX_CHANNELS, MAX_TIMES = 65_536, 65_536
MAX_SIDE, MAX_FEATURES = 4096, 1 << 20

RefusalCode = Literal[
    "token",
    "session",
    "replayed",
    "adapter",
    "settings",
    "invalid",
    "size",
    "overload",
    "draining",
    "away",
    "failed",
]
"""Why a server refused; each is counted by this name."""


class WireError(AppError):
    """What came over the wire breaks the layout; one sentence."""


def _floats(value: object) -> object:
    """Whole numbers may stand for others; a truth value for none."""
    return float(value) if type(value) is int else value


Finite = Annotated[float, BeforeValidator(_floats), Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Number = Annotated[int, Field(ge=0, lt=2**64)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Numbers(_Wire):
    """An array: its shape and its bytes, little-endian; the type is its field's."""

    shape: tuple[Annotated[int, Field(ge=0, le=1 << 24)], ...] = Field(max_length=3)
    data: bytes


class OpenRequest(_Wire):
    """Opens a session: who wears the headset, and what its epochs and pictures must be."""

    version: Literal[1]
    subject: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    system: Name
    generator: Annotated[str, Field(max_length=200)]
    steps: Annotated[int, Field(ge=1, le=1000)]
    guidance: Finite | None
    doubt_session: bool
    align: bool
    tmin: Annotated[Finite, Field(ge=-10, le=0)]
    tmax: Annotated[Finite, Field(gt=0, le=10)]
    filter: dict[str, Any] = Field(max_length=32)
    budget: Annotated[Finite, Field(gt=0, le=3600)]


class OpenAnswer(_Wire):
    """A session's id, and what decodes."""

    session: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    ready: dict[str, Any]


class AdapterRequest(_Wire):
    """A person's adapter: the two files of its folder, as `phosphene adapters` keeps them."""

    session: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    manifest: Annotated[bytes, Field(max_length=4 << 20)]
    weights: Annotated[bytes, Field(max_length=64 << 20)]
    ch_names: tuple[Name, ...] = Field(max_length=MAX_CHANNELS)


class AdapterAnswer(_Wire):
    """What the server knows the adapter by."""

    sha256: Sha256
    spec: dict[str, Any]


class SteerWire(_Wire):
    """`Steer`: the adapter by its hash alone; its folder is the session's own matter."""

    sha256: Sha256
    frozen: bool | None
    n_resets: Number


class DecodeRequest(_Wire):
    """One epoch of a session; `number` rises with every request, or it was replayed."""

    session: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    number: Number
    eeg: Numbers
    ch_names: tuple[Name, ...] = Field(min_length=1, max_length=MAX_CHANNELS)
    ch_types: tuple[Name, ...] = Field(max_length=MAX_CHANNELS)
    sfreq: Annotated[Finite, Field(gt=0, le=1e6)]
    tmin: Annotated[Finite, Field(ge=-10, le=10)]
    tmax: Annotated[Finite, Field(ge=-10, le=60)]
    seed: Number
    steer: SteerWire
    draw: bool
    control: bool


class DecodeAnswer(_Wire):
    """An epoch's answer, with the server's own times: `waited`, `encode`, `sample`, s."""

    number: Number
    vector: Numbers | None
    pixels: Numbers | None
    control: Numbers | None
    waited: Annotated[Finite, Field(ge=0)]
    encode: Annotated[Finite, Field(ge=0)]
    sample: Annotated[Finite, Field(ge=0)]
    observed: bool
    began: bool
    alignment: Literal["", "running", "frozen"]
    drift: Finite | None
    doubt: Annotated[Finite, Field(ge=0, le=1)]
    confidence: Annotated[Finite, Field(ge=0, le=1)] | None
    classes: tuple[Finite, ...] = Field(max_length=10_000)
    batch: tuple[Annotated[int, Field(ge=1, le=1024)], Annotated[int, Field(ge=0, lt=1024)]]
    error: Annotated[str, Field(max_length=2000)]


class CloseRequest(_Wire):
    """Ends a session."""

    session: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Refusal(_Wire):
    """Sent instead of an answer."""

    refused: RefusalCode
    reason: Annotated[str, Field(max_length=2000)]


_Model = TypeVar("_Model", bound=_Wire)


def pack(value: _Wire) -> bytes:
    """Lay a request or an answer out as bytes."""
    return bytes(msgpack.packb(value.model_dump(), use_bin_type=True))


def unpack(kind: type[_Model], body: bytes, *, limit: int = MAX_BODY) -> _Model:
    """Read a request or an answer back.

    Raises
    ------
    WireError
        It is none of this kind: too large, not msgpack, a field too many, or a value out of bounds.
    """
    if len(body) > limit:
        raise WireError(
            f"{kind.__name__} has {len(body)} bytes, expected at most {limit}: send a shorter "
            "epoch, or fewer channels."
        )
    try:
        table = msgpack.unpackb(
            body,
            raw=False,
            use_list=False,
            strict_map_key=True,
            ext_hook=_refuse_extension,
            max_map_len=4096,
            max_array_len=MAX_CHANNELS,
            max_str_len=1 << 16,
            max_bin_len=limit,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(
            f"{kind.__name__} is not msgpack as expected ({_short(error)}): use a client of this "
            "version."
        ) from None
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = plain(".".join(str(part) for part in first["loc"]) or "(whole)", limit=80)
        raise WireError(
            f"{kind.__name__}.{where}: {plain(first['msg'], limit=200)}; use a client of this "
            "version."
        ) from None


def _refuse_extension(_code: int, _data: bytes) -> object:
    raise ValueError("it holds an extension type")


def _short(error: BaseException) -> str:
    return plain(" ".join(str(error).split()) or type(error).__name__, limit=120)


def numbers_of(array: NDArray[Any]) -> Numbers:
    """Lay an array out, little-endian."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return Numbers(shape=array.shape, data=little.tobytes())


def array_of(
    value: Numbers, dtype: Any, *, shape: tuple[int | None, ...], limit: tuple[int, ...], what: str
) -> NDArray[Any]:
    """Read an array back; `shape` has None where any length up to `limit` may stand.

    Raises
    ------
    WireError
        Another shape, too long, too few bytes for it, or numbers that are not finite.
    """
    kind = np.dtype(dtype)
    expected = tuple("n" if n is None else n for n in shape)
    fits = len(value.shape) == len(shape) and all(
        (given == n) if n is not None else 0 < given <= most
        for given, n, most in zip(value.shape, shape, limit, strict=True)
    )
    n_bytes = kind.itemsize * int(np.prod([int(n) for n in value.shape], dtype=object))
    if not fits or n_bytes != len(value.data):
        raise WireError(
            f"{what} has shape {value.shape} and {len(value.data)} bytes, expected {expected} of "
            f"{kind.name} (at most {limit}): send it whole."
        )
    array = np.frombuffer(value.data, kind.newbyteorder("<")).reshape(value.shape).astype(kind)
    if kind.kind == "f" and not np.isfinite(array).all():
        raise WireError(f"{what} holds NaN or infinity, expected finite numbers.")
    return array


# ------------------------------------------------------------------ epochs


def request_of(job: Job, *, session: str, number: int) -> DecodeRequest:
    """An epoch as it leaves the machine: without its label, its time and its index."""
    return DecodeRequest(
        session=session,
        number=number,
        eeg=numbers_of(job.data),
        ch_names=job.ch_names,
        ch_types=job.ch_types,
        sfreq=job.sfreq,
        tmin=job.tmin,
        tmax=job.tmax,
        seed=job.seed,
        steer=SteerWire(
            sha256=job.steer.adapter.sha256,
            frozen=job.steer.frozen,
            n_resets=job.steer.n_resets,
        ),
        draw=job.draw,
        control=job.control,
    )


def job_from(request: DecodeRequest, *, folder: str = "") -> Job:
    """The epoch as the server decodes it; `folder` is where it keeps the adapter.

    Raises
    ------
    WireError
        Channels, samples and times do not fit each other, or a sample is not finite.
    """
    n = len(request.ch_names)
    if len(request.ch_types) != n or len(set(request.ch_names)) != n:
        raise WireError(
            f"{n} ch_names and {len(request.ch_types)} ch_types, expected one of each a channel, "
            "and no name twice."
        )
    data = array_of(
        request.eeg, np.float32, shape=(n, None), limit=(MAX_CHANNELS, MAX_TIMES), what="eeg"
    )
    lasts = (data.shape[1] - 1) / request.sfreq
    is_long = data.shape[1] > 1  # a volume of fMRI is one sample of some seconds
    if is_long and not abs((request.tmax - request.tmin) - lasts) <= 1.5 / request.sfreq:
        raise WireError(
            f"eeg has {data.shape[1]} samples at {request.sfreq:g} Hz, expected as many as "
            f"{request.tmin:g} to {request.tmax:g} s take."
        )
    return Job(
        index=request.number,
        t_onset=0.0,
        data=data,
        ch_names=request.ch_names,
        ch_types=request.ch_types,
        sfreq=request.sfreq,
        tmin=request.tmin,
        tmax=request.tmax,
        event="",
        seed=request.seed,
        steer=Steer(
            AdapterKey(folder, request.steer.sha256), request.steer.frozen, request.steer.n_resets
        ),
        draw=request.draw,
        control=request.control,
    )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A server's answer to one epoch: times are lengths on its own clock, s.

    `n_observed` counts the epochs that the session's alignment had taken in afterwards, `state` is
    the id of that alignment, another one once it began anew. `needs_adapter`: nothing was decoded,
    because the adapter has to be sent along.
    """

    answer: Answer
    waited: float = 0.0
    encode: float = 0.0
    sample: float = 0.0
    began: bool = False
    state: str = ""
    n_observed: int = 0
    needs_adapter: bool = False


_ALIGNMENT: Final[dict[str, Literal["", "running", "frozen"]]] = {
    "": "",
    "running": "running",
    "frozen": "frozen",
}


def answer_of(served: Served, number: int) -> DecodeAnswer:
    """A server's answer as it goes over the wire."""
    answer = served.answer

    def optional(array: NDArray[Any] | None) -> Numbers | None:
        return None if array is None else numbers_of(array)

    return DecodeAnswer(
        number=number,
        vector=optional(answer.vector),
        pixels=optional(answer.pixels),
        control=optional(answer.control_pixels),
        waited=max(0.0, served.waited),
        encode=max(0.0, served.encode),
        sample=max(0.0, served.sample),
        observed=answer.observed,
        began=served.began,
        alignment=_ALIGNMENT[answer.alignment],
        drift=answer.drift,
        doubt=answer.doubt,
        confidence=answer.confidence,
        classes=answer.classes,
        batch=answer.batch or (1, 0),
        error=plain(answer.error, limit=2000),
    )


def served_from(answer: DecodeAnswer) -> Served:
    """Read a server's answer; what a client must not believe is refused.

    Raises
    ------
    WireError
        A vector or a picture of no possible shape, or a place outside of its batch.
    """
    vector = pixels = control = None
    if answer.vector is not None:
        n = len(answer.vector.shape)
        if n not in (1, 2):
            raise WireError(f"vector has {n} axes, expected 1 or 2.")
        vector = array_of(
            answer.vector, np.float32, shape=(None,) * n, limit=(MAX_FEATURES,) * n, what="vector"
        )
    if answer.pixels is not None:
        pixels = _picture(answer.pixels, "pixels")
    if answer.control is not None:
        control = _picture(answer.control, "control")
    if answer.batch[1] >= answer.batch[0]:
        raise WireError(f"batch is {answer.batch}, expected a place below its size.")
    return Served(
        Answer(
            index=answer.number,
            vector=vector,
            pixels=pixels,
            control_pixels=control,
            error=answer.error,
            observed=answer.observed,
            alignment=answer.alignment,
            drift=answer.drift,
            doubt=answer.doubt,
            confidence=answer.confidence,
            classes=answer.classes,
            batch=answer.batch,
        ),
        waited=answer.waited,
        encode=answer.encode,
        sample=answer.sample,
        began=answer.began,
    )


def _picture(value: Numbers, what: str) -> NDArray[np.uint8]:
    limit = (MAX_SIDE, MAX_SIDE, 3)
    return array_of(value, np.uint8, shape=(None, None, 3), limit=limit, what=what)


# ------------------------------------------------------------------ what decodes

_SPEC = TypeAdapter(EncoderSpec)
_PACE = TypeAdapter(Pace)
_OPTIONS: TypeAdapter[Mapping[str, str | int | float]] = TypeAdapter(
    Mapping[str, str | int | float]
)
_SETTLED: TypeAdapter[Overrides] = TypeAdapter(Overrides)
_VERSIONS: TypeAdapter[Mapping[str, str]] = TypeAdapter(Mapping[str, str])
_REMARKS: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[str, ...])


DRAWING: Final = (
    *("device", "backend", "dtype", "threads"),
    *("generator_revision", "blend", "graph_revision", "own_pictures", "size"),
)
"""Settings of `decoder` that a server decides for its sessions: how it draws, and no more."""


def drawing_of(decoder: DecoderConfig) -> Overrides:
    """How a decoder of these settings draws, as a server says it and a client takes it."""
    return decoder.model_dump(include=set(DRAWING))


def spec_table(spec: EncoderSpec) -> dict[str, Any]:
    """An encoder's description as a plain table."""
    return dataclasses.asdict(spec)


def spec_from(table: Mapping[str, Any]) -> EncoderSpec:
    """Undo `spec_table`; raises `WireError`."""
    return _checked(_SPEC, table, "spec")


def ready_table(ready: Ready) -> dict[str, Any]:
    """What decodes, as a plain table."""
    return {
        "spec": spec_table(ready.spec),
        "sampler_sha256": ready.sampler_sha256,
        "device": ready.device,
        "versions": dict(ready.versions),
        "options": dict(ready.options),
        "remarks": list(ready.remarks),
        "pace": None if ready.pace is None else dataclasses.asdict(ready.pace),
        "settled": dict(ready.settled),
        "machine": ready.machine,
    }


def ready_from(table: Mapping[str, Any]) -> Ready:
    """Undo `ready_table`; raises `WireError`."""
    pace = table.get("pace")
    return Ready(
        spec=spec_from(table.get("spec") or {}),
        sampler_sha256=plain(str(table.get("sampler_sha256", "")), limit=64),
        device=plain(str(table.get("device", "")), limit=40),
        versions=_checked(_VERSIONS, table.get("versions"), "versions"),
        options=_checked(_OPTIONS, table.get("options"), "options"),
        remarks=tuple(
            plain(each, limit=500) for each in _checked(_REMARKS, table.get("remarks"), "remarks")
        ),
        pace=None if pace is None else _checked(_PACE, pace, "pace"),
        settled=_checked(_SETTLED, table.get("settled"), "settled"),
        machine=plain(str(table.get("machine", ""))),
    )


_Value = TypeVar("_Value")


def _checked(adapter: TypeAdapter[_Value], value: object, what: str) -> _Value:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise WireError(
            f"the server's {what} cannot be read ({plain(first['msg'], limit=120)}): it is of "
            "another version."
        ) from None


def filter_of(request: OpenRequest) -> FilterConfig:
    """The session's filter; raises `WireError` for one that is none."""
    try:
        return FilterConfig.model_validate(request.filter)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise WireError(f"filter: {plain(first['msg'], limit=200)}.") from None
