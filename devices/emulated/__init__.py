"""Boards that are not there: they speak their maker's protocol, so that drivers can be tested."""

from devices.emulated.cyton import EmulatedCyton

__all__ = ["EmulatedCyton"]
