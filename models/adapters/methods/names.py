"""Which names a calibration may be asked to choose among, before anything is read or trained.

Owns the sentences of refusal. Imports no method and no network.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.adapters.decoders import DECODERS
from models.adapters.errors import AdapterError
from models.adapters.manifest import ENSEMBLE
from models.adapters.methods import METHODS, PICTURES
from models.registry import names_with


def check_methods(names: Sequence[str], *, is_classes: bool | None = None) -> None:
    """Refuse a name that no calibration, or not this kind of one, can choose.

    Parameters
    ----------
    names : sequence of str
    is_classes : bool, optional
        Whether classes of events are told apart; None: that is not known yet.

    Raises
    ------
    AdapterError
        A method of pictures where there are classes, or the reverse; or an unknown name.
    """
    usual = ", ".join(DECODERS)
    encoders = names_with("encoder", are_listed=False) if names else ()
    for name in names:
        if is_classes is not False and (name in DECODERS or name in encoders or name == ENSEMBLE):
            continue
        if is_classes is not True and name in PICTURES:
            continue
        if is_classes and name in PICTURES:
            raise AdapterError(
                f"the method {name!r} stands behind an encoder of pictures, and classes of events "
                f"are told apart here, expected one of {usual}, or a pretrained encoder such as "
                "labram: leave --methods out for the usual ones."
            )
        if is_classes is False and (name in {**DECODERS, **METHODS} or name in encoders):
            raise AdapterError(
                f"the method {name!r} decodes classes of events, and pictures were shown, expected "
                f"one of {', '.join(PICTURES)}: leave --methods out for all that fit."
            )
        raise AdapterError(
            f"there is neither a method nor a pretrained encoder {name!r}, expected one of "
            f"{', '.join(PICTURES)} for pictures, {usual} for classes of events, or a pretrained "
            "encoder such as labram (`phosphene systems`)."
        )
