"""The stages that wire codec, slm and eval: run from the checkout's root, never installed."""

from __future__ import annotations

import sys

from .former import FormerNames

sys.meta_path.append(FormerNames())
