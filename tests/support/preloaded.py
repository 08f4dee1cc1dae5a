"""What the server of `tests.support.forked` loads for its forks.

The collector of a fork would write into every object and so copy the memory that it shares with the
server; it leaves alone what is frozen.
"""

from __future__ import annotations

import gc

gc.disable()

import codec.training.fit
import recipes.run_all
import slm.training.fit  # noqa: F401

gc.freeze()
gc.enable()
