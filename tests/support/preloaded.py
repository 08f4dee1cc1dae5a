"""What the server of `tests.support.forked` loads for its forks.

The collector of a fork would write into every object and so copy the memory that it shares with the
server; it leaves alone what is frozen.
"""

from __future__ import annotations

import gc
from importlib import import_module

gc.disable()  # nothing of this becomes garbage, and all of it would be searched, over and over
for name in ("codec.training.fit", "recipes.run_all", "slm.training.fit"):
    import_module(name)
gc.freeze()
gc.enable()
