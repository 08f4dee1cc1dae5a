"""The stages that wire codec, slm and eval: run from the checkout's root, never installed."""

from __future__ import annotations

import sys

from codec.runtime.openmp import sleep_while_waiting

from .former import FormerNames

sys.meta_path.append(FormerNames())
# Before any stage imports torch: a training often runs beside other work.
sleep_while_waiting()
