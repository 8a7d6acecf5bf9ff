"""Every measure of a set of drawn pictures beside what was shown, in one pass over them.

Owns the pass, its memory (a batch of pictures, and one column a drawn picture in each table) and
which measures there are. What a measure means stands in its `definition`; the figures' intervals
and chance are `models.evaluation.protocol`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from torch import Tensor

from models.evaluation.networks import Network
from models.evaluation.protocol import Ints, identification, unit_rows
from models.metrics.classification import n_way_by_rank
from models.metrics.pictures import (
    Comparable,
    comparable,
    pixel_correlation,
    prepared,
    structural_similarity,
)
from pipeline.errors import ConfigurationError
from pipeline.values import Float32, Float64, Uint8

BATCH = 64
MOST_SHOWN = 1000
"""Distinct shown pictures that are compared at most."""
MOST_STRUCTURE = 500
"""Items whose pixels are compared at side 425 at most: one takes as long as two by a network."""
MOST_APART = 100
"""Shown pictures up to which distances to all of them are taken: some 3 MB each."""
N_WAYS, N_CLASSES = 50, 1000
_KEPT = 4
"""Shown pictures that are held ready: items come in order of what they showed."""


class Pictures(Protocol):
    """Drawn pictures beside what was shown."""

    @property
    def name(self) -> str:
        """Whose they are."""
        ...

    @property
    def stimuli(self) -> Sequence[str]:
        """Key of what each item showed."""
        ...

    @property
    def n_copies(self) -> int:
        """Drawings of each item."""
        ...

    def shown(self, key: str) -> Uint8:
        """Picture of a key, (height, width, 3)."""
        ...

    def drawn(self, item: int, copy: int) -> Uint8:
        """Drawing of an item, (height, width, 3)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """One measure of one set.

    Attributes
    ----------
    name, title, definition : str
    better : "higher" or "lower"
    values : ndarray, shape (n_copies, n_items), float64
        Or (1, 1) for a measure of the whole set, which has no value an item.
    by_stimulus : ndarray, shape (n_shown, n_items), float32, or None
        What the first copies' values would be, had each stimulus been shown.
    ideal : float or None
        Chance by definition, where it has one.
    is_published : bool
        Whether network and definition are those of a published protocol.
    """

    name: str
    title: str
    definition: str
    better: Literal["higher", "lower"]
    values: Float64
    by_stimulus: Float32 | None = None
    ideal: float | None = None
    is_published: bool = False

    @property
    def is_of_set(self) -> bool:
        """Whether the measure is one figure of the whole set."""
        return self.values.shape == (1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What one pass found.

    `items` are those that were measured, by number; `shown` says which of `keys` each showed.
    """

    measures: tuple[Measure, ...]
    items: Ints
    keys: tuple[str, ...]
    shown: Ints
    notes: tuple[str, ...]


class _Tables:
    """Columns of likeness to each shown picture, one a drawn picture."""

    def __init__(self, shown: Float32, n_items: int, n_copies: int) -> None:
        self._shown = unit_rows(shown)
        self.table = np.empty((n_copies, len(shown), n_items), dtype=np.float32)

    def add(self, drawn: Float32, first: int, copy: int) -> None:
        self.table[copy, :, first : first + len(drawn)] = _product(self._shown, unit_rows(drawn))


def _product(rows: Float32, others: Float32) -> Float32:
    """Inner products (n, n_others) of rows, on the caller's thread: NumPy takes all cores."""
    return np.asarray((torch.from_numpy(rows) @ torch.from_numpy(others).T).numpy())


def measure(
    pictures: Pictures,
    networks: Sequence[Network],
    *,
    seed: int = 0,
    of_items: bool = False,
    tell: Callable[[float], None] = lambda _share: None,
) -> Measured:
    """Measure a set of pictures.

    Parameters
    ----------
    pictures : Pictures
    networks : sequence of Network
    seed : int
        Of what is drawn where there is too much to compare everything.
    of_items : bool
        Leave out what is one figure of the whole set.
    tell : callable
        Called with the share that is done.

    Raises
    ------
    ConfigurationError
        Fewer than two distinct pictures were shown, or none was drawn.
    """
    items, keys, shown, notes = _chosen(pictures, seed)
    originals = [pictures.shown(key) for key in keys]
    side = pictures.drawn(int(items[0]), 0).shape[:2]
    pixels = _Pixels(originals, side, len(items), pictures.n_copies)
    chosen = np.zeros(len(items), dtype=np.bool_)
    chosen[np.random.default_rng([seed, 107]).permutation(len(items))[:MOST_STRUCTURE]] = True
    if not chosen.all():
        slow = ", ".join(["PixCorr", *(n.title for n in networks if n.is_distance)])
        notes = (*notes, f"{slow} and SSIM: of {chosen.sum()} items, drawn at seed {seed}.")
    structure = _Structure(originals, shown, chosen, pictures.n_copies)
    judges = [
        _Judge(each, originals, len(items), pictures.n_copies)
        for each in networks
        if not each.is_distance
    ]
    distances = [
        _Distance(each, originals, shown, chosen, pictures.n_copies)
        for each in networks
        if each.is_distance
    ]
    parts = [
        (copy, first) for copy in range(pictures.n_copies) for first in range(0, len(items), BATCH)
    ]

    def compare(copy: int, first: int) -> list[_Rows]:
        drawn = [pictures.drawn(int(item), copy) for item in items[first : first + BATCH]]
        structure.add(drawn, first, copy)
        pixels.add(drawn, first, copy)
        alike = _same_size(drawn)
        for distance in distances:
            distance.add(alike, first, copy)
        return [judge.add(alike, first, copy) for judge in judges]

    for done, rows in enumerate(_in_order(compare, parts), 1):
        for judge, each in zip(judges, rows, strict=True):
            judge.count(each)
        tell(done / len(parts))
    found = (*structure.measures(), *pixels.measures(shown))
    of_networks = (m for judge in judges for m in judge.measures(shown, of_items=of_items))
    of_distances = (m for each in distances for m in each.measures())
    return Measured((*found, *of_networks, *of_distances), items, keys, shown, notes)


_Rows = dict[str, Float32]


def _in_order(
    compare: Callable[[int, int], list[_Rows]], parts: Sequence[tuple[int, int]]
) -> Iterator[list[_Rows]]:
    """Compare parts on every core that torch may use, a part a core; what they give, in order.

    A part is computed by one thread whatever their number, so that figures do not depend on it.
    """
    with _one_thread_each() as n_workers, ThreadPoolExecutor(n_workers) as workers:
        pending: deque[Future[list[_Rows]]] = deque()
        for part in parts:
            if len(pending) > n_workers:
                yield pending.popleft().result()
            pending.append(workers.submit(compare, *part))
        while pending:
            yield pending.popleft().result()


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """How many threads may compute, while torch itself takes one in each."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield n_threads
    finally:
        torch.set_num_threads(n_threads)


def _chosen(pictures: Pictures, seed: int) -> tuple[Ints, tuple[str, ...], Ints, tuple[str, ...]]:
    """Which items are measured, in order of what they showed, and which picture that was."""
    names, rows = np.unique(np.asarray(pictures.stimuli, dtype=object), return_inverse=True)
    if len(names) < 2:
        raise ConfigurationError(
            f"{pictures.name} has {len(pictures.stimuli)} pictures of one stimulus, expected two "
            "stimuli or more to tell apart."
        )
    kept = np.arange(len(names))
    note: tuple[str, ...] = ()
    if len(names) > MOST_SHOWN:
        kept = np.sort(np.random.default_rng([seed, 97]).permutation(len(names))[:MOST_SHOWN])
    place = np.full(len(names), -1, dtype=np.intp)
    place[kept] = np.arange(len(kept))
    shown = place[rows]
    items = np.argsort(shown, kind="stable")
    items = items[np.searchsorted(shown[items], 0) :]
    if len(kept) < len(names):
        note = (
            f"{len(names)} distinct pictures were shown: {MOST_SHOWN} of them, drawn at seed "
            f"{seed}, and the {len(items)} items that showed them were measured.",
        )
    return items, tuple(str(names[k]) for k in kept), shown[items], note


class _Pixels:
    """Correlation and squared error of pixels, at the drawn pictures' size."""

    def __init__(
        self, originals: Sequence[Uint8], side: tuple[int, ...], n_items: int, n_copies: int
    ) -> None:
        self._side = side
        flat = np.stack([_flat(each, side) for each in originals])
        self._flat = flat
        self._energy = _energy(flat)
        self._pearson = _Tables(flat, n_items, n_copies)
        self._error = np.empty((n_copies, len(flat), n_items), dtype=np.float32)

    def add(self, drawn: Sequence[Uint8], first: int, copy: int) -> None:
        rows = np.stack([_flat(each, self._side) for each in drawn])
        self._pearson.add(rows, first, copy)
        products = _product(self._flat, rows)
        error = (self._energy[:, None] + _energy(rows) - 2.0 * products) / rows.shape[1]
        self._error[copy, :, first : first + len(rows)] = error

    def measures(self, shown: Ints) -> Iterator[Measure]:
        own = np.arange(len(shown))
        yield _of_table(
            "pixel_identification",
            "Pixels, identified",
            "share of the other shown pictures that correlate less with the drawing (Pearson over "
            "all pixels)",
            self._pearson.table,
            shown,
        )
        yield _of_table(
            "mse_identification",
            "Squared error, identified",
            "the same by mean squared error, in floating point (the published code wraps in 8 bit)",
            -self._error,
            shown,
        )
        yield Measure(
            "mse",
            "Squared error",
            "mean squared error of pixels from 0 to 1",
            "lower",
            self._error[:, shown, own].astype(np.float64),
            np.asarray(self._error[0]),
        )


def _energy(rows: Float32) -> Float64:
    """Sum of squares of each row."""
    return np.array([np.square(row).sum(dtype=np.float64) for row in rows])


def _of_table(
    name: str, title: str, definition: str, table: Float32, shown: Ints, *, published: bool = False
) -> Measure:
    found = [identification(each, shown) for each in table]
    own = np.arange(len(shown))
    values = np.stack([each[shown, own] for each in found]).astype(np.float64)
    return Measure(name, title, definition, "higher", values, found[0], 0.5, published)


class _Structure:
    """MindEye's measures of pixels, a value an item, of some of the items."""

    def __init__(
        self, originals: Sequence[Uint8], shown: Ints, chosen: NDArray[np.bool_], n_copies: int
    ) -> None:
        self._shown, self._chosen = shown, chosen
        self._original = lru_cache(_KEPT)(lambda row: _comparable(originals[row]))
        self._found = np.full((3, n_copies, len(shown)), np.nan)

    def add(self, drawn: Sequence[Uint8], first: int, copy: int) -> None:
        for column, pixels in enumerate(drawn, first):
            if not self._chosen[column]:
                continue
            one, other = _comparable(pixels), self._original(int(self._shown[column]))
            self._found[:, copy, column] = (
                pixel_correlation(one, other),
                *structural_similarity(one, other),
            )

    def measures(self) -> Iterator[Measure]:
        words = (
            ("pixcorr", "PixCorr", "Pearson's correlation of all pixels at side 425"),
            (
                "ssim",
                "SSIM",
                "structural similarity of grey pictures at side 425, Gaussian window of 1.5, as "
                "scikit-image 0.20 and later compute it",
            ),
            (
                "ssim_by_column",
                "SSIM by column",
                "the same call before scikit-image 0.20, which took columns for channels; never "
                "to be mixed with the other",
            ),
        )
        for (name, title, definition), values in zip(words, self._found, strict=True):
            whole = f"{definition} (MindEye's suite)"
            yield Measure(name, title, whole, "higher", values, is_published=True)


class _Distance:
    """A network whose features' squared distance is the measure, of some of the items."""

    def __init__(
        self,
        network: Network,
        originals: Sequence[Uint8],
        shown: Ints,
        chosen: NDArray[np.bool_],
        n_copies: int,
    ) -> None:
        self._network, self._shown, self._chosen = network, shown, chosen
        compares_all = len(originals) <= MOST_APART
        rows = [self._features(each[None])[0] for each in originals] if compares_all else []
        self._all = np.stack(rows) if rows else None
        self._original = lru_cache(_KEPT)(lambda row: self._features(originals[row][None])[0])
        self._own = np.full((n_copies, len(shown)), np.nan)
        size = (n_copies, len(originals) if compares_all else 0, len(shown))
        self._table = np.full(size, np.nan, dtype=np.float32)

    def _features(self, pictures: Uint8) -> Float32:
        return self._network.features(pictures)[0]

    def add(self, drawn: Uint8, first: int, copy: int) -> None:
        """Compare the chosen ones of a batch, one by one: a vector is megabytes."""
        for column, pixels in enumerate(drawn, first):
            if not self._chosen[column]:
                continue
            row, shown = self._features(pixels[None])[0], int(self._shown[column])
            if self._all is None:
                self._own[copy, column] = _apart(self._original(shown), row)
            else:
                self._table[copy, :, column] = [_apart(each, row) for each in self._all]
                self._own[copy, column] = self._table[copy, shown, column]

    def measures(self) -> Iterator[Measure]:
        network = self._network
        definition = (
            "distance of AlexNet's activations at side 256, pictures from -1 to 1, channels "
            "weighted as published (v0.1)"
        )
        yield Measure(
            network.name,
            f"{network.title} ({network.layers[0]})",
            definition,
            "lower",
            self._own,
            np.asarray(self._table[0]) if self._all is not None else None,
            is_published=True,
        )
        if self._all is None:
            return
        known = np.flatnonzero(self._chosen)
        table = np.full(self._table.shape, np.nan, dtype=np.float32)
        for found, given in zip(table, self._table, strict=True):
            found[:, known] = identification(-given[:, known], self._shown[known])
        yield Measure(
            f"{network.name}_identification",
            f"{network.title}, identified",
            f"share of the other shown pictures that are further from the drawing ({definition})",
            "higher",
            table[:, self._shown, np.arange(len(self._shown))].astype(np.float64),
            table[0],
            0.5,
            is_published=True,
        )


def _apart(one: Float32, other: Float32) -> float:
    gap = one - other
    return float(np.einsum("i,i", gap, gap))


class _Judge:
    """One network's measures."""

    def __init__(
        self, network: Network, originals: Sequence[Uint8], n_items: int, n_copies: int
    ) -> None:
        self.network = network
        parts: list[tuple[Float32, ...]] = []
        for first in range(0, len(originals), BATCH):
            parts.append(network.features(_same_size(originals[first : first + BATCH])))
        real = [np.concatenate(each) for each in zip(*parts, strict=True)]
        self._real = dict(zip(network.layers, real, strict=True))
        self._tables = {
            name: _Tables(rows, n_items, n_copies)
            for name, rows in self._real.items()
            if name != network.classes
        }
        size = (n_copies, n_items, N_CLASSES)
        self._logits = np.empty(size, np.float32) if network.classes else None
        widths = {name: self._real[name].shape[1] for name in self._tables}
        self._sums = {name: _Moments(n) for name, n in widths.items() if n <= _Moments.WIDEST}

    def add(self, drawn: Uint8, first: int, copy: int) -> _Rows:
        """Compare a batch; the features that are to be counted."""
        found = dict(zip(self.network.layers, self.network.features(drawn), strict=True))
        for name, tables in self._tables.items():
            tables.add(found[name], first, copy)
        if self._logits is not None:
            self._logits[copy, first : first + len(drawn)] = found[self.network.classes]
        return {name: found[name] for name in self._sums}

    def count(self, rows: _Rows) -> None:
        """Add a batch to mean and covariance, whose sums depend on the order of batches."""
        for name, each in rows.items():
            self._sums[name].add(each)

    def measures(self, shown: Ints, *, of_items: bool) -> Iterator[Measure]:
        network, own = self.network, np.arange(len(shown))
        for layer, tables in self._tables.items():
            what = f"{network.title}, {layer}" if layer not in network.title else layer
            key = f"{network.name}_{layer}".replace(" ", "_")
            yield _of_table(
                f"{key}_identification",
                f"{what}, identified",
                "two-way identification: share of the other shown pictures whose features "
                "correlate less with the drawing's",
                tables.table,
                shown,
                published=network.name in ("alexnet", "clip", "inception-v3"),
            )
            distance = 1.0 - tables.table
            yield Measure(
                f"{key}_distance",
                f"{what}, distance",
                "one minus the correlation of features",
                "lower",
                distance[:, shown, own].astype(np.float64),
                np.asarray(distance[0]),
                is_published=network.name in ("efficientnet-b1", "swav"),
            )
            if of_items:
                continue
            sums = self._sums.get(layer)
            frechet = None if sums is None else sums.distance(self._real[layer], shown)
            if frechet is not None:
                yield _of_set(
                    f"{key}_frechet",
                    f"{what}, Fréchet distance",
                    f"between the features of {len(shown)} shown and as many drawn pictures; small "
                    "sets are biased upward",
                    "lower",
                    frechet,
                    published=network.name == "fid-inception",
                )
        if self._logits is not None:
            yield from self._of_classes(shown, of_items=of_items)

    def _of_classes(self, shown: Ints, *, of_items: bool) -> Iterator[Measure]:
        if self._logits is None:
            return
        network, own = self.network, np.arange(len(shown))
        truth = self._real[network.classes].argmax(axis=1)
        by_rank = n_way_by_rank(N_CLASSES, n_way=N_WAYS).astype(np.float32)
        found = []
        for logits in self._logits:
            order = np.argsort(-logits, axis=1, kind="stable")
            ranks = np.empty_like(order)
            np.put_along_axis(ranks, order, np.arange(N_CLASSES)[None], axis=1)
            found.append(by_rank[ranks[:, truth]].T)
        yield Measure(
            f"{network.name}_{N_WAYS}_way",
            f"{network.title}, {N_WAYS}-way top-1",
            f"chance that the class which the network gives what was shown is the likeliest of "
            f"{N_WAYS} for the drawing (closed form of the published draws)",
            "higher",
            np.stack([each[shown, own] for each in found]).astype(np.float64),
            found[0],
            1 / N_WAYS,
            network.name == "vit-h-14",
        )
        if of_items:
            return
        logits = self._logits.reshape(-1, N_CLASSES).astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        mean = shares.mean(axis=0)
        gain = (shares * (np.log(shares + 1e-12) - np.log(mean + 1e-12))).sum(axis=1).mean()
        yield _of_set(
            f"{network.name}_inception_score",
            f"{network.title}, Inception score",
            "exp of the mean divergence of each drawing's classes from all drawings'; its ceiling "
            "depends on the set",
            "higher",
            float(np.exp(gain)),
            published=network.name == "fid-inception",
        )


def _of_set(
    name: str,
    title: str,
    definition: str,
    better: Literal["higher", "lower"],
    value: float,
    *,
    published: bool,
) -> Measure:
    return Measure(name, title, definition, better, np.array([[value]]), is_published=published)


class _Moments:
    """Mean and covariance of rows that come in parts."""

    WIDEST = 2048
    """Features of a layer at most."""

    def __init__(self, width: int) -> None:
        self._n, self._sum = 0, np.zeros(width)
        self._products = torch.zeros(width, width, dtype=torch.float64)

    def add(self, rows: Float32) -> None:
        wide = torch.from_numpy(rows).double()
        self._n += len(wide)
        self._sum += wide.sum(dim=0).numpy()
        self._products.addmm_(wide.T, wide)

    def distance(self, real: Float32, shown: Ints) -> float | None:
        """Fréchet distance to the shown pictures' features (Heusel et al., arXiv 1706.08500)."""
        if min(self._n, len(shown)) < 2:
            return None
        wide = real.astype(np.float64)[shown]
        mean = self._sum / self._n
        own = self._products.numpy() / self._n - np.outer(mean, mean)
        other_mean, other = wide.mean(axis=0), np.cov(wide, rowvar=False, bias=True)
        # The root of own @ other has the trace of the root of half @ other @ half, its likeness.
        values, vectors = linalg.eigh(own)
        half = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        root = float(np.sqrt(np.maximum(linalg.eigvalsh(half @ other @ half), 0.0)).sum())
        gap = float(((mean - other_mean) ** 2).sum())
        return gap + float(np.trace(own) + np.trace(other)) - 2.0 * root


def _same_size(pictures: Sequence[Uint8]) -> Uint8:
    """One array of pictures, all of the first one's size."""
    side = pictures[0].shape[:2]
    return np.stack([each if each.shape[:2] == side else _resized(each, side) for each in pictures])


def _flat(pixels: Uint8, side: tuple[int, ...]) -> Float32:
    resized = pixels if pixels.shape[:2] == tuple(side) else _resized(pixels, side)
    return resized.reshape(-1).astype(np.float32) / np.float32(255.0)


def _resized(pixels: Uint8, side: tuple[int, ...]) -> Uint8:
    from PIL import Image

    size = (side[1], side[0])
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def _comparable(pixels: Uint8) -> Comparable:
    return comparable(prepared(_channels(pixels[None]))[0])


def _channels(pictures: Uint8) -> Tensor:
    """Pictures (n, height, width, 3) as (n, 3, height, width) from 0 to 1."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255.0
