"""Packages that import torchaudio for parts of theirs that are never called here."""

import contextlib
import importlib
import io
import sys
from types import ModuleType


def import_without_torchaudio(name: str) -> ModuleType:
    """Imports a package while stand-ins answer for torchaudio, whose wheel may not load.

    The stand-ins are gone afterwards: left behind, they would break every later look for
    torchaudio. What a package prints while it is imported is dropped.

    Raises:
        ImportError: The package is missing or needs another that is.
    """
    stand_ins = {}
    for module in ("torchaudio", "torchaudio.transforms"):
        if module not in sys.modules:
            stand_ins[module] = ModuleType(module)
    if "torchaudio.transforms" in stand_ins:
        stand_ins["torchaudio.transforms"].MFCC = None  # type: ignore[attr-defined]
    sys.modules.update(stand_ins)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(name)
    finally:
        for module in stand_ins:
            sys.modules.pop(module, None)
