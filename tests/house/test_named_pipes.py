"""No reader waits for a named pipe that lies where a file should."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from codec.bitstream.compressed import CompressedRecording
from codec.bitstream.format import CodedRecording
from codec.runtime.checkpoint_file import read_checkpoint
from eval.cli.options import read_texts
from eval.likelihood_tests.published import read_swuggy
from eval.scoring.generated import read_generation
from recipes.corpora.import_folder import read_table
from recipes.corpora.import_kaldi import kaldi_utterances
from recipes.corpora.import_webdataset import index_tar
from recipes.corpora.manifest import read_manifest
from recipes.release.licensed_clips import read_licences
from recipes.release.tables import read_plan
from recipes.runner.config import read_yaml
from slm.cli.batch_file import read_requests
from slm.model.model_folder import COMPANIONS, read_companions
from slm.synthesis.requests import SpeechRequest
from tests.support.sources import modules

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes of POSIX")
# Modules that open what they have written, what Python or the system brings, or what they have
# looked at by `is_file`; all others open files by `codec.files.reading`.
OWN = {
    "codec/bench/memory.py",
    "codec/cli/pipes.py",
    "codec/export/web_page.py",
    "codec/files/reading.py",
    "codec/model/whisper_encoder.py",
    "codec/provenance.py",
    "codec/requirements.py",
    "codec/run_logs.py",
    "eval/baselines/classical_codecs.py",
    "recipes/comparisons/ablate.py",
    "recipes/comparisons/adapt.py",
    "recipes/corpora/kokoro_model.py",
    "recipes/encoding/cluster.py",
    "recipes/encoding/local.py",
    "recipes/release/site_pages.py",
    "slm/data/token_rows.py",
    "slm/engines/native_build.py",
    "slm/storage/remote_folder.py",
    "slm/text/sentencepiece_tokenizer.py",
}


def opens(path: Path) -> bool:
    """Tell whether a module opens files for reading itself."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = getattr(function, "id", getattr(function, "attr", ""))
        if name in ("read_bytes", "read_text") and isinstance(function, ast.Attribute):
            return True
        modes = [each.value for each in node.args if isinstance(each, ast.Constant)]
        if name == "open" and "r" in "".join(m for m in modes if isinstance(m, str)):
            return True
    return False


def test_files_that_are_given_are_opened_by_one_function() -> None:
    found = {name for name, path in modules("codec", "slm", "eval", "recipes") if opens(path)}
    assert found == OWN


def swuggy(path: Path) -> None:
    (path.parent / "lexical").mkdir()
    path.rename(path.parent / "lexical" / "gold.csv")
    read_swuggy(path.parent)


def kaldi(path: Path) -> None:
    path.with_name("wav.scp").write_text("a a.wav\n")
    path.rename(path.with_name("text"))
    list(kaldi_utterances(path.parent))


def companion(path: Path) -> None:
    path.rename(path.with_name(COMPANIONS[0]))
    read_companions(path.parent)


def webdataset(path: Path) -> None:
    index, problem = index_tar(path.rename(path.with_suffix(".tar")), folder=path.parent)
    assert not index.exists()
    raise ValueError(problem)


READERS: dict[str, Callable[[Path], object]] = {
    "checkpoint": read_checkpoint,
    "codes": CodedRecording.load,
    "compressed codes": CompressedRecording.load,
    "texts": lambda path: read_texts(path.rename(path.with_suffix(".jsonl"))),
    "pairs": lambda path: read_generation(path.rename(path.with_suffix(".lst")), path.parent),
    "table": lambda path: read_table(path, {}),
    "manifest": read_manifest,
    "settings": read_yaml,
    "licences": read_licences,
    "requests": lambda path: read_requests(path, SpeechRequest("", seed=1)),
    "plan of tables": lambda path: read_plan(path, {}),
    "swuggy": swuggy,
    "kaldi": kaldi,
    "companion": companion,
    "webdataset": webdataset,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_named_pipe_is_refused_by_its_name(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    named = f"{tmp_path}.*expected a file, got a named pipe|expected a .*got {tmp_path}"
    with pytest.raises(ValueError, match=named):
        read(tmp_path / "pipe")
