"""Which clip a process was at when it died, known to those that come after it.

Ray tries a task again whose process died, which a recording that ends every process that reads it
would have it do for ever. Here batches are marked as begun; one that was begun before is done
clip by clip, each marked as well, and a clip at which two such tries have ended is left out.
"""

from __future__ import annotations

from collections import Counter

# Tries of a batch clip by clip that ended at the same clip, after which it is not tried again. The
# first death of a batch comes to these, since it is not known where that was.
MOST_DEATHS = 2


class Attempts:
    """What is being worked on, by name of the batch; one object for all that work."""

    def __init__(self) -> None:
        self._at: dict[str, int | None] = {}  # of batches that are begun: the clip
        self._deaths: Counter[tuple[str, int]] = Counter()

    def begin(self, batch: str) -> bool:
        """Begin a batch; whether it was begun before and did not come to its end."""
        again = batch in self._at
        clip = self._at.get(batch)
        if clip is not None:
            self._deaths[batch, clip] += 1
        self._at[batch] = None
        return again

    def may_try(self, batch: str, clip: int) -> bool:
        """Go on to a clip of a batch that was begun before; whether it may be tried once more."""
        may = self._deaths[batch, clip] < MOST_DEATHS
        self._at[batch] = clip if may else None
        return may

    def end(self, batch: str) -> None:
        """Every clip of a batch is done or left out."""
        self._at.pop(batch, None)
