"""Names of electrodes, as the field writes them and as we do.

Owns the spelling only. Knows nothing of streams.
"""

from __future__ import annotations

import re

ALIASES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
"""Names of the old 10-20 system."""

_SITE = re.compile(
    r"(NZ|FPZ|OZ|IZ|CZ|PZ|FZ|[A-Z]{1,3}Z|(?:FP|AFP|AFF|AF|FFT|FFC|FTT|FCC|FT|FC|TTP|CCP|TPP|CPP"
    r"|PPO|POO|TP|CP|PO|OI|F|T|C|P|O|I|A|M)\d{1,2}H?)"
)
_DECORATION = re.compile(r"^(?:EEG[ _-]+)|[ _-]+(?:REF|LE|AR|AVG)$|[ .]+$", re.IGNORECASE)


def canonical_label(label: str) -> str:
    """Spell an electrode's name as the 10-05 system does: `EEG FP1-REF` is `Fp1`, `t3` is `T7`.

    A name that is no 10-05 site is only stripped of blanks.
    """
    plain = label.strip()
    while (shorter := _DECORATION.sub("", plain)) != plain:
        plain = shorter
    upper = plain.upper()
    if not _SITE.fullmatch(upper):
        return label.strip()
    name = ALIASES.get(upper, upper)
    for shout, quiet in (("FP", "Fp"), ("Z", "z"), ("H", "h")):
        name = name.replace(shout, quiet)
    return name


def difference(label: str) -> tuple[str, str] | None:
    """The two electrodes of a bipolar label, `FP1-F7` or `EEG Fpz-Cz`; None for any other.

    One against an ear or a mastoid is an electrode like any other.
    """
    plain = re.sub(r"^EEG[ _-]+", "", label.strip(), flags=re.IGNORECASE)
    parts = [part.strip() for part in plain.split("-")]
    if len(parts) < 2 or not all(_SITE.fullmatch(part.upper()) for part in parts[:2]):
        return None
    if re.fullmatch(r"[AM]\d+", parts[1].upper()):
        return None
    return canonical_label(parts[0]), canonical_label(parts[1])
