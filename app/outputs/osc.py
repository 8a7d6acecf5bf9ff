"""Results as OSC messages over UDP, for TouchDesigner, Max, SuperCollider and the like.

Owns the addresses below `/phosphene` and their arguments. What a decoder did not state is not
sent: no class without classes, no confidence where the encoder gives none. Knows nothing of
sessions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from app.errors import OutputError
from app.outputs.addresses import split_address
from app.outputs.port import Sent
from configs.plain import plain
from pipeline.extras import extras_named
from pipeline.signal_quality import GRADES, ChannelQuality

MAX_VALUES = 15_000
"""Numbers of one message: a datagram holds some 65 kB, and one that is longer is lost whole."""


class OscOutput:
    """Sends each event's messages to one address.

    | address | arguments |
    |---|---|
    | `/phosphene/event` | int index, double onset (LSL clock, s), string label, string outcome |
    | `/phosphene/simulated` | int 1 where no person stands behind the signal, else 0 |
    | `/phosphene/top` | string label, float score, float chance: the best of the ranking |
    | `/phosphene/class` | string class, float probability: the best of the classes |
    | `/phosphene/confidence` | float |
    | `/phosphene/embedding` | float, one a feature |
    | `/phosphene/quality` | string channel, float grade (0 bad to 1 good), channel by channel |

    Parameters
    ----------
    address : str
        `HOST:PORT`.
    is_simulated : bool

    Raises
    ------
    OutputError
        The address is none, or its host is unknown.
    MissingExtraError
        python-osc is not installed.
    """

    def __init__(self, address: str, *, is_simulated: bool) -> None:
        host, port = split_address(address)
        with extras_named("OSC"):
            from pythonosc.udp_client import SimpleUDPClient
        try:
            self._client: Any = SimpleUDPClient(host, port)
        except OSError as error:
            raise OutputError(
                f"OSC address is {address}, whose host cannot be found ({error.strerror}): give "
                "another, such as 127.0.0.1:9000."
            ) from None
        self._address = address
        self._is_simulated = is_simulated
        self._said_long = False

    @property
    def about(self) -> str:
        """Where it sends to."""
        return f"OSC to {self._address}"

    def send(self, sent: Sent) -> None:
        """Send what the event states.

        Raises
        ------
        OutputError
            The system refuses, or the embedding is longer than a datagram (said once).
        """
        line = sent.line
        event = [line["index"], ("d", sent.t_onset), plain(line["label"]), line["outcome"]]
        self._send("event", event)
        self._send("simulated", [int(self._is_simulated)])
        if line["top"]:
            label, score = line["top"][0]
            chance = [] if line["chance"] is None else [float(line["chance"])]
            self._send("top", [plain(label), float(score), *chance])
        if line.get("classes"):
            name, probability = max(line["classes"].items(), key=lambda pair: pair[1])
            self._send("class", [plain(name), float(probability)])
        if line["confidence"] is not None:
            self._send("confidence", [float(line["confidence"])])
        if sent.vector is not None:
            self._send_embedding(sent.vector.ravel().tolist())

    def send_quality(self, newest: Sequence[ChannelQuality], at: float) -> None:  # noqa: ARG002
        """Send the grade of each channel."""
        values: list[Any] = []
        for each in newest:
            values += [plain(each.ch_name), GRADES[each.grade]]
        self._send("quality", values)

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self._client.close()

    def _send_embedding(self, values: list[float]) -> None:
        if len(values) <= MAX_VALUES:
            self._send("embedding", values)
        elif not self._said_long:
            self._said_long = True
            raise OutputError(
                f"Embeddings of {len(values)} numbers do not fit a datagram (at most "
                f"{MAX_VALUES}), so OSC goes without them: read the LSL stream of embeddings."
            )

    def _send(self, name: str, values: list[Any]) -> None:
        from pythonosc.osc_message_builder import BuildError, OscMessageBuilder

        builder = OscMessageBuilder(address=f"/phosphene/{name}")
        for value in values:
            if isinstance(value, tuple):
                builder.add_arg(value[1], value[0])
            else:
                builder.add_arg(value)
        try:
            self._client.send(builder.build())
        except (OSError, BuildError) as error:
            raise OutputError(
                f"OSC to {self._address} failed ({error}): look whether that address is in reach."
            ) from None
