"""Checks that two scored folders hold the same items before their figures are set side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codec.files.names import composed

from .summary import item_values, read_items


class ComparisonError(ValueError):
    """Two scored folders that cannot be compared, with the difference."""


def require_same_content(ours: Path, theirs: Path) -> None:
    """Refuse items of one id in both folders that are other recordings, as of another split.

    Raises:
        ComparisonError: An item has another recording, text or prompt.
    """
    a, b = items_by_name(ours), items_by_name(theirs)
    for key in ("reference", "text", "prompt"):
        # Items without a prompt have no such key; the other two are absent from older folders.
        both = [n for n in a if n in b and (key == "prompt" or (key in a[n] and key in b[n]))]
        other = [n for n in both if _content(a[n], key) != _content(b[n], key)]
        if other:
            raise ComparisonError(
                f"expected the same {key} for every item of {ours} and {theirs}, got another for "
                f"{len(other)}: {', '.join(other[:5])}"
            )


def _content(item: Mapping[str, Any], key: str) -> Any:
    """A part of an item; texts are the same in either form of their accents."""
    found = item.get(key)
    return composed(found) if key == "text" and isinstance(found, str) else found


def items_by_name(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the items of a scored folder by id, accents composed: lists hold either form."""
    return {composed(row["id"]): row for row in read_items(folder)}


def values_by_name(folder: Path, metric_id: str) -> dict[str, dict[str, float | None]]:
    """Read the values of a metric by composed id; see `item_values`."""
    return {composed(name): values for name, values in item_values(folder, metric_id).items()}


def require_same_weights(summaries: Sequence[dict[str, Any]], metrics: Sequence[str]) -> None:
    """Refuse scores of one id by two models, such as two sizes of a recogniser.

    Raises:
        ComparisonError: A metric loaded other weights in A than in B.
    """
    for metric in metrics:
        a, b = (s["metrics"][metric].get("backend", {}).get("weights") or {} for s in summaries)
        if a != b:
            raise ComparisonError(f"expected the same weights behind {metric}, got {a} and {b}")
