"""Metrics, protocols for what is measured, and reports; of `codec` only its ground modules."""

from __future__ import annotations

from codec.version import __version__

__all__ = ["__version__"]
