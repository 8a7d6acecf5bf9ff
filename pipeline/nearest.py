"""The channel nearest to a site of the 10-05 system, for caps with names of their own (A1 to D32).

Owns the geometry: a sphere through the electrodes that a stream gives positions of, and angles on
it. Knows nothing of what is picked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.electrodes import canonical_name, unit_positions
from pipeline.values import Float64, StreamInfo

FURTHEST = 12.0
"""Largest angle between a site and the electrode that stands for it, degrees: about half the
distance of neighbours on a 10-20 cap."""
_LEAST = 16
"""Electrodes that a sphere is fitted to."""
_ROUND = 0.01
"""Positions that leave a sphere by less of its radius were not measured: the maker's, on a ball."""
_SPHERE = (
    "Fp1:-92:-72 AF7:-92:-54 AF3:-74:-65 F1:-50:-68 F3:-60:-51 F5:-75:-41 F7:-92:-36 FT7:-92:-18 "
    "FC5:-72:-21 FC3:-50:-28 FC1:-32:-45 C1:-23:0 C3:-46:0 C5:-69:0 T7:-92:0 TP7:-92:18 "
    "CP5:-72:21 CP3:-50:28 CP1:-32:45 P1:-50:68 P3:-60:51 P5:-75:41 P7:-92:36 P9:-115:36 "
    "PO7:-92:54 PO3:-74:65 O1:-92:72 Iz:115:-90 Oz:92:-90 POz:69:-90 Pz:46:-90 CPz:23:-90 "
    "Fpz:92:90 Fp2:92:72 AF8:92:54 AF4:74:65 AFz:69:90 Fz:46:90 F2:50:68 F4:60:51 F6:75:41 "
    "F8:92:36 FT8:92:18 FC6:72:21 FC4:50:28 FC2:32:45 FCz:23:90 Cz:0:0 C2:23:0 C4:46:0 C6:69:0 "
    "T8:92:0 TP8:92:-18 CP6:72:-21 CP4:50:-28 CP2:32:-45 P2:50:-68 P4:60:-51 P6:75:-41 P8:92:-36 "
    "P10:115:-36 PO8:92:-54 PO4:74:-65 O2:92:-72 "
)
"""The 10-10 system on a ball: angle from the top and azimuth (0: right ear), degrees; BioSemi's own
for its cap of 64. Sites on a real head (`pipeline.electrodes`) are up to an electrode off there."""


def positions_of(stream: StreamInfo) -> dict[str, Float64]:
    """Where a stream's electrodes are, by label, as LSL's `location` says (X right, Y front)."""
    found = {}
    for group in _tables(stream.desc.get("channels")):
        for channel in _tables(group.get("channel")):
            where = next(iter(_tables(channel.get("location"))), {})
            try:
                label = str(channel["label"][0])
                xyz = np.array([float(where[axis][0]) for axis in "XYZ"])
            except (KeyError, IndexError, TypeError, ValueError):
                continue
            if np.isfinite(xyz).all():
                found[label] = xyz
    return found


def nearest(site: str, positions: Mapping[str, Float64]) -> tuple[str, float] | None:
    """Return the electrode nearest to a site and how far it is off, degrees.

    None for what is no site, where too few positions are known, or where none is near.
    """
    if canonical_name(site) is None or len(positions) < _LEAST:
        return None
    names, points = list(positions), np.stack(list(positions.values()))
    directions = points - _centre(points)
    radii = np.linalg.norm(directions, axis=1, keepdims=True)
    is_ball = float(np.abs(radii / radii.mean() - 1).max()) < _ROUND
    cosine = np.clip(directions / radii @ _direction(site, is_ball=is_ball), -1.0, 1.0)
    best = int(cosine.argmax())
    angle = float(np.degrees(np.arccos(cosine[best])))
    return (names[best], angle) if angle <= FURTHEST else None


def _direction(site: str, *, is_ball: bool) -> Float64:
    """Where a site lies: on a ball where the cap is one, else on the template head."""
    name = canonical_name(site) or site
    found = [entry.split(":") for entry in _SPHERE.split()] if is_ball else []
    for label, angle, azimuth in found:
        if label == name:
            theta, phi = np.radians([float(angle), float(azimuth)])
            return np.array(
                [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
            )
    return np.asarray(unit_positions([site])[0])


def _centre(points: Float64) -> Float64:
    """Centre of the sphere that fits the points best, by least squares."""
    matrix = np.column_stack([2 * points, np.ones(len(points))])
    solution, *_ = np.linalg.lstsq(matrix, (points**2).sum(axis=1), rcond=None)
    return np.asarray(solution[:3])


def _tables(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
