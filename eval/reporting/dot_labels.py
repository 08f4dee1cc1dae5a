"""Texts beside the dots of a chart, placed so that they cover no dot and no other text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Where a text may stand beside its dot: offset in points, and alignment. The first free one counts.
_SPOTS = (
    *((6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 6, "center", "bottom")),
    *((0, -6, "center", "top"), (5, 5, "left", "bottom"), (5, -5, "left", "top")),
)


def label_dots(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write texts beside dots, each at the first spot that covers no other text and no dot.

    Args:
        axes: With its final limits.
        points: Position and text of each dot, "" for none.
    """
    from matplotlib.transforms import Bbox

    if not any(text for _, _, text in points):
        return
    # The layout must be final, since texts are compared in pixels.
    whole = axes.get_figure(root=True)
    assert whole is not None
    whole.draw_without_rendering()
    frame = axes.get_window_extent()
    dots = axes.transData.transform([point[:2] for point in points])
    taken = [Bbox(((x - 4, y - 4), (x + 4, y + 4))) for x, y in dots]
    for x, y, text in points:
        if text:
            note = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", fontsize=9)
            note.set_in_layout(False)
            # Where no spot is free, the first one is taken after all.
            for *offset, across, up in (*_SPOTS, _SPOTS[0]):
                note.set(position=offset, horizontalalignment=across, verticalalignment=up)
                spot = note.get_window_extent()
                is_inside = frame.contains(*spot.min) and frame.contains(*spot.max)
                if is_inside and not spot.count_overlaps(taken):
                    break
            taken.append(spot)
