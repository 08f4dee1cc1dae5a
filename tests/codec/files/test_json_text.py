"""JSON that holds a value or names the key that it cannot hold."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from codec.files import write_json
from codec.files.json_text import json_text


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"a": {"loss": [1.0, math.nan]}}, r"a\.loss\.1: expected a value .* got nan"),
        ({"a": (1, math.inf)}, r"a\.1: .*got inf"),
        ({"path": Path("x")}, r"path: .*got (Posix|Windows)Path"),
        (math.nan, "expected a value that JSON can hold, got nan"),
        ({"a": {(1, 2): 3}}, r"a: .*got \{\(1, 2\): 3\}"),
    ],
)
def test_json_names_the_key_that_it_cannot_hold(tmp_path, value, part):
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match=part):
        json_text(value)
    with pytest.raises(ValueError, match=rf"a\.json: {part}"):
        write_json(path, value)
    assert list(tmp_path.iterdir()) == []


def test_json_that_holds_itself_is_refused():
    value: list[object] = []
    value.append({"a": value})
    with pytest.raises(ValueError, match="Circular"):
        json_text(value)
