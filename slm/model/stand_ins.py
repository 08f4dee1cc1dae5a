"""Import x-transformers without einx, which takes longer to load than torch itself.

einx loads torch's compiler and sympy, for functions that nothing here calls. `codec.import_shims`
does the same for its own quantizer.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Einx(ModuleType):
    """Its functions; einx is imported when one of them is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*given: Any, **named: Any) -> Any:
            return getattr(import_module("einx"), name)(*given, **named)

        return call


@contextmanager
def without_einx() -> Iterator[None]:
    """Let packages import einx in here and have it loaded when they first call it."""
    stands_in = "einx" not in sys.modules
    if stands_in:
        sys.modules["einx"] = _Einx("einx")
    try:
        yield
    finally:
        if stands_in:
            del sys.modules["einx"]
