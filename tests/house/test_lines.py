r"""Lines of data end at `\n` alone, in every file that is written or read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.audio.store import AudioStore, AudioStoreWriter
from eval.cli.options import read_texts
from eval.scoring.generated import read_generation
from recipes.corpora.import_kaldi import kaldi_utterances
from recipes.corpora.importing import Utterance
from recipes.corpora.manifest import CorpusRow, read_manifest, write_manifest
from recipes.corpora.published import ljspeech_utterances
from slm.cli.batch_file import read_requests
from slm.data.alignment import Unit, read_alignments, write_alignments
from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.synthesis.requests import SpeechRequest
from slm.text.lexicon import Lexicon
from tests.support.sources import modules

# Lines of messages, of the system's own files and of one program's output.
ALLOWED = {
    "codec/bench/memory.py",
    "codec/bitstream/batch.py",
    "codec/model/config.py",
    "codec/provenance.py",
    "recipes/runner/config.py",
    "slm/engines/native_build.py",
}
MARKS = "one\u2028two\u2029three\u0085four\x0bfive\x0csix\x1cseven"
MARK = "\ufeff"


def test_no_data_is_cut_at_what_unicode_calls_a_line() -> None:
    packages = "codec", "slm", "eval", "recipes", "benchmarks"
    found = {name for name, path in modules(*packages) if ".splitlines(" in path.read_text("utf-8")}
    # The module that reads lines names the method it replaces.
    assert found - ALLOWED == set()


def row(folder: Path) -> CorpusRow:
    audio = folder / "a.wav"
    return CorpusRow("a", audio, 1.0, MARKS, f"s{MARKS}", "en", "train", {"note": MARKS})


@pytest.mark.parametrize("mark", ["", MARK])
def test_a_manifest_holds_any_text(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, [row(tmp_path)])
    path.write_text(mark + path.read_text("utf-8"), "utf-8")
    assert read_manifest(path) == [row(tmp_path)]


def test_stores_hold_any_text(tmp_path: Path) -> None:
    fields = {"id": "a", "text": MARKS}
    with AudioStoreWriter(tmp_path / "audio", 8) as writer:
        writer.add(np.zeros(8, np.float32), dict(fields))
    assert AudioStore(tmp_path / "audio").rows[0].items() >= fields.items()
    codec: dict[str, Any] = {"codec_fingerprint": "0" * 16, "codebook_size": 4, "frame_rate": 8.0}
    tokens = TokenStoreWriter(tmp_path / "tokens", **codec)
    for name in ("a", "b"):
        tokens.add(np.zeros(3, np.int64), {**fields, "id": name})
    tokens.close()
    store = TokenStore(tmp_path / "tokens")
    assert [(each["id"], each["text"]) for each in store.rows] == [("a", MARKS), ("b", MARKS)]
    assert store.rows[1]["text"] == MARKS


def test_alignments_and_lexicons_hold_any_name(tmp_path: Path) -> None:
    path = tmp_path / "train.alignment.jsonl"
    write_alignments(path, [(MARKS, [Unit(3, 0.0, 0.5)])])
    assert read_alignments(path) == {MARKS: [Unit(3, 0.0, 0.5)]}
    Lexicon({f"a{MARKS}": "AH"}, {"<a>": ("AH",)}, f"Of\n{MARKS}").save(tmp_path)
    lexicon = Lexicon.load(tmp_path)
    assert (lexicon.words, lexicon.notice) == ({f"a{MARKS}": "AH"}, f"Of\n{MARKS}")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", MARK])
def test_tables_of_others_are_read_line_by_line(tmp_path: Path, mark: str, end: str) -> None:
    def write(name: str, *lines: str) -> Path:
        content = mark + "".join(f"{line}{end}" for line in lines)
        (tmp_path / name).write_bytes(content.encode())
        return tmp_path / name

    write("wav.scp", "u1 a.wav", "u2 b.wav")
    write("text", f"u1 \u2028{MARKS}\u0085", f"u2\t{MARKS}")
    found = list(kaldi_utterances(tmp_path))
    assert [each.text for each in found if isinstance(each, Utterance)] == [
        f"\u2028{MARKS}\u0085",
        MARKS,
    ]
    write("metadata.csv", f"L1|{MARKS}|{MARKS}", "L2|two|two")
    assert [each.id for each in ljspeech_utterances(tmp_path)] == ["L1", "L2"]
    assert next(ljspeech_utterances(tmp_path)).text == MARKS
    pairs = read_generation(write("meta.lst", f"u1|x|p.wav|{MARKS}", "u2|x|p.wav|b"), tmp_path)
    assert [(pair.id, pair.text) for pair in pairs] == [("u1", MARKS), ("u2", "b")]
    assert read_texts(write("t.jsonl", f'{{"id": "a", "text": "{MARKS[:18]}"}}')) == {
        "a": MARKS[:18]
    }
    requests = read_requests(write("t.txt", MARKS, "b"), SpeechRequest("", seed=1))
    assert [request.text for request in requests.values()] == [MARKS, "b"]
