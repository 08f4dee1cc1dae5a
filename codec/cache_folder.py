"""The folder of what is made once for a user and a machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Name the folder: `HH_SLM_CACHE`, else hh-slm in `XDG_CACHE_HOME` or ~/.cache.

    Raises:
        ValueError: None is named, and the user has no home folder, as in some containers.
    """
    named = os.environ.get("HH_SLM_CACHE")
    if named:
        return Path(named)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification has relative ones ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError as error:
            raise ValueError(
                f"expected a home folder for ~/.cache/hh-slm, found none ({error}); name a folder "
                "by HH_SLM_CACHE"
            ) from error
    return base / "hh-slm"
