"""Face and house responses as the live path extracts them, beside MNE's from the same file.

Writes `faces-houses-erp.png` and prints two figures: the largest difference from MNE's epochs on
MNE's raw data under the same causal filter, and the lag against a filter without phase, beside
the causal filter's delays: its group delay is that of an envelope, its phase delay (less, for the
high-pass turns phases forward) that of the waves themselves, and so of a response's peaks.

    python -m research.figures.faces_houses --data faces-houses --out docs/img
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal

from app.output import write_text
from configs import FilterConfig
from pipeline.filters import CausalFilter
from pipeline.values import Epoch, Float64, Info
from research.figures.recording import (
    FILTER,
    MONTAGES,
    SITES,
    TARGETS,
    find_recording,
    live_epochs,
    session_config,
)

_SHOWN = ("B11", "B7", "A23")
"""P8, PO8 and Oz: where faces and houses differ most on the right, and where they do not."""
_FREQS = (4.0, 6.0, 8.0, 10.0, 12.0)
_COLOURS = {"face": "#c2410c", "house": "#1d4ed8"}


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Live and offline epochs of the same trials.

    `live`, `causal`, `zero_phase` are (n_epochs, n_channels, n_times) float64, microvolts, with
    the baseline taken out; `events` are the labels; `times` in s.
    """

    live: Float64
    causal: Float64
    zero_phase: Float64
    events: tuple[str, ...]
    times: Float64
    sfreq: float

    @property
    def largest_difference(self) -> float:
        """Between live and MNE's epochs under the same causal filter, microvolts."""
        return float(np.abs(self.live - self.causal).max())

    def evoked(self, what: str, prefix: str) -> Float64:
        """Mean over trials whose label starts with `prefix`, (n_channels, n_times)."""
        rows = [k for k, event in enumerate(self.events) if event.startswith(prefix)]
        data: Float64 = getattr(self, what)
        return np.asarray(data[rows].mean(axis=0))

    def lag(self, *, upsample: int = 16) -> float:
        """How far the live responses come after those without phase, s (best cross-correlation)."""
        late, early = (self._stacked(what, upsample) for what in ("live", "zero_phase"))
        shifts = range(int(0.06 * self.sfreq * upsample))
        n_times = late.shape[-1]
        fits = [float((late[:, s:] * early[:, : n_times - s]).sum()) for s in shifts]
        return int(np.argmax(fits)) / (self.sfreq * upsample)

    def _stacked(self, what: str, upsample: int) -> Float64:
        both = np.concatenate([self.evoked(what, kind) for kind in _COLOURS])
        fine = signal.resample_poly(both, upsample, 1, axis=-1, padtype="line")
        return np.asarray(fine - fine.mean(axis=-1, keepdims=True))


def compare(path: Path, picks: Sequence[str], *, stop: float = np.inf) -> Comparison:
    """Extract the trials before `stop` (s) live and with MNE.

    Parameters
    ----------
    path : Path
        The EDF file with its BIDS sidecars.
    picks : sequence of str
        Channels.
    """
    live = live_epochs(path, session_config(picks), stop=stop).epochs
    raw = _raw(path, picks, stop)
    causal = raw.copy()
    _filter_like_ours(causal, FILTER)
    zero_phase = raw.copy()
    _without_phase(zero_phase, None, FILTER.h_freq)
    _without_phase(zero_phase, FILTER.l_freq, None)
    return Comparison(
        live=np.stack([epoch.data.astype(np.float64) for epoch in live]),
        causal=_mne_epochs(causal, live),
        zero_phase=_mne_epochs(zero_phase, live),
        events=tuple(epoch.event for epoch in live),
        times=live[0].times,
        sfreq=live[0].info.sfreq,
    )


def _without_phase(raw: Any, l_freq: float | None, h_freq: float | None) -> None:
    # Forwards and backwards doubles the order: the same steepness as the causal filter.
    iir = {"order": FILTER.order // 2, "ftype": "butter", "output": "sos"}
    raw.filter(l_freq, h_freq, method="iir", iir_params=iir, phase="zero", verbose="error")


def _raw(path: Path, picks: Sequence[str], stop: float) -> Any:
    import mne

    raw = mne.io.read_raw_edf(path, verbose="error")
    raw.crop(0.0, min(stop, float(raw.times[-1])))
    return raw.pick(list(picks)).load_data(verbose="error")


def _filter_like_ours(raw: Any, config: FilterConfig) -> None:
    """Apply the causal design by SciPy in one piece, from the first sample's steady state."""
    sos = CausalFilter(config, Info(tuple(raw.ch_names), float(raw.info["sfreq"]))).sos

    def run(row: Float64) -> Float64:
        start = signal.sosfilt_zi(sos) * row[0]
        return np.asarray(signal.sosfilt(sos, row, zi=start)[0])

    raw.apply_function(run, verbose="error")


def _mne_epochs(raw: Any, live: Sequence[Epoch]) -> Float64:
    import mne

    sfreq = float(raw.info["sfreq"])
    ids = {target.event: number for number, target in enumerate(TARGETS, 1)}
    events = [[round(epoch.t_onset * sfreq), 0, ids[epoch.event]] for epoch in live]
    epochs = mne.Epochs(
        raw,
        np.array(events),
        tmin=live[0].tmin,
        tmax=live[0].tmax,
        baseline=(live[0].tmin, 0.0),
        preload=True,
        reject_by_annotation=False,
        verbose="error",
    )
    return np.asarray(epochs.get_data(copy=False) * 1e6)


def phase_delay(causal: CausalFilter, freq: float) -> float:
    """How far the filter moves a wave of `freq` Hz, s."""
    _, response = signal.sosfreqz(causal.sos, worN=[freq], fs=causal.info.sfreq)
    return -float(np.angle(response[0])) / (2 * np.pi * freq)


def draw(found: Comparison, picks: Sequence[str], out: Path) -> Path:
    """Draw the figure; return its path."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(picks), figsize=(12, 6.4), sharex=True, sharey="row")
    lag = found.lag()
    for column, name in enumerate(picks):
        top, bottom = axes[0][column], axes[1][column]
        for kind, colour in _COLOURS.items():
            rows = [found.evoked(what, kind)[column] for what in ("live", "causal", "zero_phase")]
            times = 1000 * found.times
            top.plot(times, rows[0], color=colour, lw=2.2, label=f"{kind}, live path")
            top.plot(times, rows[1], color="black", lw=0.9, ls=":", label=f"{kind}, MNE, causal")
            bottom.plot(times - 1000 * lag, rows[0], color=colour, lw=2.2)
            bottom.plot(times, rows[2], color=colour, lw=1.0, ls="--")
        top.set_title(f"{SITES.get(name, name)} (BioSemi {name})")
        bottom.set_xlabel("time from onset, ms")
        for axis in (top, bottom):
            axis.axvline(0, color="#999999", lw=0.6)
            axis.axhline(0, color="#999999", lw=0.6)
            axis.set_xlim(-100, 600)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("microvolts")
    axes[1][0].set_ylabel("microvolts")
    axes[0][-1].legend(frameon=False, fontsize=8)
    axes[0][0].text(0.02, 0.03, "live path on MNE's causal", transform=axes[0][0].transAxes)
    axes[1][0].text(
        0.02,
        0.03,
        f"live, {1000 * lag:.0f} ms earlier, on zero-phase (dashed)",
        transform=axes[1][0].transAxes,
    )
    figure.tight_layout()
    out.mkdir(parents=True, exist_ok=True)
    target = out / "faces-houses-erp.png"
    figure.savefig(target, dpi=110)
    pyplot.close(figure)
    return target


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, print, draw."""
    parser = argparse.ArgumentParser(
        prog="python -m research.figures.faces_houses", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(argv)
    path = find_recording(args.data)
    picks = tuple(dict.fromkeys((*_SHOWN, *MONTAGES["8"])))
    found = compare(path, picks)
    causal = CausalFilter(FILTER, Info(picks, found.sfreq))
    group = ", ".join(f"{1000 * causal.group_delay(f):.1f} ms at {f:g} Hz" for f in _FREQS)
    phase = ", ".join(f"{1000 * phase_delay(causal, f):.1f} ms at {f:g} Hz" for f in _FREQS)
    write_text(
        f"{len(found.events)} trials, {len(picks)} channels\n"
        f"largest difference, live path against MNE's causal: {found.largest_difference:.2g} µV\n"
        f"lag against zero phase: {1000 * found.lag():.1f} ms\n"
        f"phase delay of the causal filter: {phase}\n"
        f"group delay of the causal filter: {group}"
    )
    write_text(str(draw(found, picks[: len(_SHOWN)], args.out)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
