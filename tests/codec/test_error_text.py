import urllib.error
from pathlib import Path

import pytest

from codec.error_text import message_of, printable, reason_of


def raised(work) -> OSError:
    with pytest.raises(OSError, match="Errno") as found:
        work()
    return found.value


def test_errors_of_the_system_are_told_by_file_and_cause(tmp_path):
    missing = tmp_path / "gone.wav"
    assert message_of(raised(missing.read_bytes)) == f"{missing}: No such file or directory"
    assert reason_of(raised(missing.read_bytes), missing) == "No such file or directory"
    assert reason_of(raised(missing.read_bytes), "other.wav") == (
        f"{missing}: No such file or directory"
    )
    other = tmp_path / "other"
    both = raised(lambda: missing.rename(other))
    assert message_of(both) == f"{missing}: {other}: No such file or directory"


def test_errors_with_words_of_their_own_keep_them():
    assert message_of(OSError("no space left")) == "no space left"
    assert message_of(ValueError("expected 1, got 2")) == "expected 1, got 2"
    assert reason_of(ValueError("a.wav: is empty"), Path("a.wav")) == "is empty"


def test_errors_without_a_message_are_told_by_their_class():
    assert message_of(TimeoutError()) == "TimeoutError"
    assert message_of(KeyError("speaker")) == "KeyError: 'speaker'"


def test_an_error_of_the_system_that_urllib_wraps_is_told_like_one():
    refused = ConnectionRefusedError(111, "Connection refused")
    assert message_of(urllib.error.URLError(refused)) == "Connection refused"
    assert message_of(urllib.error.URLError("unknown type")) == "<urlopen error unknown type>"


def test_names_that_utf_8_cannot_hold_are_escaped(tmp_path):
    name = "caf\udce9.wav"
    assert printable(name) == "caf\\udce9.wav"
    assert message_of(FileNotFoundError(2, "gone", name)) == "caf\\udce9.wav: gone"
    assert reason_of(FileNotFoundError(2, "gone", name), name) == "gone"
