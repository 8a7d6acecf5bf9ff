"""What a person has to know of the pace before a session begins, in sentences.

Owns them, and what an epoch does that comes while a picture is drawn. Pure.
"""

from __future__ import annotations

from app import formatting
from app.runtime.messages import Ready
from configs import SessionConfig

SLOW = 1.0
"""A picture that takes longer is announced, s."""


def in_words(seconds: float) -> str:
    """Say a length of time as a person would."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.2g} min" if minutes < 10 else f"{minutes:.0f} min"


def newest_wins(config: SessionConfig) -> bool:
    """Whether a new epoch takes the place of one that waits."""
    policy = config.decoder.policy
    return policy == "newest" or (policy == "auto" and config.epochs.mode == "free")


def host_of(url: str) -> str:
    """Host and port of a server's address."""
    return url.partition("://")[2]


def ready_words(ready: Ready, config: SessionConfig, expected: float) -> str:
    """Say that the decoder is ready, on what it computes, and how long a picture takes."""
    threads = config.decoder.threads
    pace = f", {in_words(expected)} a picture" if expected else ""
    if (most := config.decoder.max_batch) > 1:
        pace += f", up to {most} together"
    return f"ready ({ready.device}, {threads} thread{'s' if threads != 1 else ''}{pace})"


def epoch_interval(config: SessionConfig) -> tuple[float, str] | None:
    """Mean time from epoch to epoch, s, and the setting that it comes from; None: not known."""
    if config.epochs.mode == "free":
        return config.epochs.step, "epochs.step"
    if config.stimuli.enabled:
        return config.stimuli.soa + config.stimuli.jitter / 2, "stimuli.soa"
    return None


def pace_sentence(ready: Ready, config: SessionConfig, *, is_live: bool = True) -> str:
    """Say how long a picture will take and what keeps up with the epochs; empty where all is quick.

    For a person, before the first epoch. A replay waits for its pictures, however long.
    """
    pace = ready.pace
    if pace is None:
        return ""
    n_pictures = 1 + config.decoder.control
    expected = n_pictures * pace.picture
    interval = epoch_interval(config)
    keeps_up = interval is None or expected <= interval[0]
    if expected <= SLOW and keeps_up:
        return ""
    steps = formatting.count(pace.n_steps, "step")
    parts = f"{steps} of {in_words(pace.step)}, {in_words(pace.rest)} for the rest"
    words = f"A picture takes about {in_words(expected)} here"
    words += f" ({parts}" if pace.n_steps else " (measured as a whole"
    words += ", twice for the control)." if config.decoder.control else ")."
    if not is_live:
        return words
    if interval is not None and not keeps_up:
        seconds, setting = interval
        words += f" Epochs come every {seconds:.3g} s ({setting}): about one in "
        words += f"{round(expected / seconds)} will be drawn, {_meanwhile(config)}"
        words += f" {_remedy(ready, config, seconds, setting)}"
    elif interval is None:
        words += f" Of epochs that come faster, {_meanwhile(config)}"
    max_wait = config.decoder.max_wait
    if max_wait is not None and expected > max_wait:
        words += (
            " An epoch may wait as long as one and a half pictures take (decoder.max_wait, "
            f"{max_wait:g} s, would leave none)."
        )
    return words


def _meanwhile(config: SessionConfig) -> str:
    if config.decoder.policy == "newest":
        return "the newest one waits meanwhile (decoder.policy)."
    n, rest = config.decoder.queue_size, "the oldest gives way" if newest_wins(config) else ""
    rest = rest or "more end as overload"
    return f"up to {n} wait meanwhile and {rest} (decoder.policy, decoder.queue_size)."


def _remedy(ready: Ready, config: SessionConfig, seconds: float, setting: str) -> str:
    pace = ready.pace
    steps = 0 if pace is None else pace.steps_within(seconds / (1 + config.decoder.control))
    if steps >= 1:
        return f"To keep up: decoder.num_inference_steps = {steps} or fewer."
    where = "" if ready.device != "cpu" else "a GPU or another back-end (`phosphene doctor`), "
    return (
        f"No number of steps keeps up: take {where}a smaller generator (decoder.generator), or a "
        f"longer {setting}."
    )
