import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.synthesis.voices import choose_voices, default_voice, load_voices, save_voices


def write_store(folder: Path) -> TokenStore:
    writer = TokenStoreWriter(folder, codec_fingerprint="one", codebook_size=99, frame_rate=24.0)
    for item, (speaker, length) in enumerate(
        [("ann", 5), ("ann", 11), ("bob", 30), ("cy", 3), (None, 20), ("bob", 90)]
    ):
        writer.add(np.arange(length) + item, {"id": f"u{item}", "speaker": speaker})
    writer.close()
    return TokenStore(folder)


def test_each_speaker_gets_the_utterance_nearest_to_the_prompt_length(tmp_path: Path) -> None:
    voices = choose_voices([write_store(tmp_path)], max_codes=12, min_codes=4)
    assert list(voices) == ["ann", "bob"]
    assert voices["ann"].tolist() == list(range(1, 12))
    assert voices["bob"].tolist() == list(range(2, 14))


def test_voices_survive_their_file_and_belong_to_a_codec(tmp_path: Path) -> None:
    assert load_voices(tmp_path, "one") == {}
    save_voices(tmp_path, {"ann": np.array([1, 2], dtype=np.uint16)}, "one")
    assert load_voices(tmp_path, "one")["ann"].tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"expected codes of codec two in .*, got codec one"):
        load_voices(tmp_path, "two")


def test_a_model_may_have_a_voice_for_texts_that_ask_for_none(tmp_path: Path) -> None:
    assert default_voice(tmp_path) is None
    voices = {"ann": np.array([1, 2]), "bob": np.array([3])}
    save_voices(tmp_path, voices, "one")
    assert default_voice(tmp_path) is None
    save_voices(tmp_path, voices, "one", "bob")
    assert default_voice(tmp_path) == "bob"
    assert list(load_voices(tmp_path, "one")) == ["ann", "bob"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"codec_fingerprint": "one"}',
        '{"codec_fingerprint": 1, "voices": {}}',
        '{"codec_fingerprint": "one", "voices": [[1, 2]]}',
        '{"codec_fingerprint": "one", "voices": {"ann": 3}}',
        '{"codec_fingerprint": "one", "voices": {"ann": []}}',
        '{"codec_fingerprint": "one", "voices": {"ann": [[1], [2]]}}',
        '{"codec_fingerprint": "one", "voices": {"ann": [1, 1e30]}}',
        '{"codec_fingerprint": "one", "voices": {"ann": [1, 65536]}}',
        '{"codec_fingerprint": "one", "voices": {"ann": [-1]}}',
        '{"codec_fingerprint": "one", "voices": {"ann": [true]}}',
        '{"codec_fingerprint": "one", "voices": {"ann": [1]}, "default": "bob"}',
        '{"codec_fingerprint": "one", "voices": {"ann": [1]}, "default": ["ann"]}',
        "no JSON",
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "voices.json").write_text(text)
    with pytest.raises(ValueError, match=r"voices\.json"):
        load_voices(tmp_path, "one")
    with pytest.raises(ValueError, match=r"voices\.json"):
        default_voice(tmp_path)


def lost_link(path: Path) -> None:
    path.symlink_to(path.with_name("gone.json"))


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lost_link, loop], ids=["folder", "pipe", "lost link", "loop"]
)
def test_what_is_no_file_is_refused_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "voices.json")
    with pytest.raises(ValueError, match=r"voices\.json: expected a file"):
        load_voices(tmp_path, "codec")
