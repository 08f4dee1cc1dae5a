"""Codes compressed by a tiny language model, by every engine, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codec.bitstream.compressed import CompressedRecording
from codec.bitstream.format import BitstreamError, CodedRecording, StreamHeader
from slm.cli.main import main
from slm.compression.code_model import CodeModel, CodePredictor, model_fingerprint
from slm.compression.codes import code_entropy, compress, decompress
from slm.engines.native_build import is_available
from slm.model.speech_lm import SpeechLM
from tests.support.builders import CODEBOOK_SIZE

CODEC = "0123456789abcdef"
HEADER = StreamHeader(CODEC, 24_000, 1024, CODEBOOK_SIZE, block_codes=16)
ENGINES = [
    "torch",
    pytest.param("native", marks=pytest.mark.skipif(not is_available(), reason="no C++ compiler")),
]


def recording(length: int = 40, header: StreamHeader = HEADER) -> CodedRecording:
    codes = (5 + 3 * np.arange(length)) % CODEBOOK_SIZE
    return CodedRecording(header, codes.astype(np.uint16), length * header.hop_length - 9)


@pytest.fixture
def folder(make_lm: Callable[..., SpeechLM], tmp_path: Path) -> Path:
    make_lm(codec_fingerprint=CODEC, max_seq_len=24).save_pretrained(tmp_path / "lm")
    return tmp_path / "lm"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("length", [1, 16, 17, 40, 70])
def test_codes_come_back_exactly_beyond_the_models_context(
    engine: str, length: int, folder: Path
) -> None:
    model = CodeModel.from_pretrained(folder)
    given = recording(length)
    made = compress(model, given, engine=engine)
    assert made.engine == engine
    back = decompress(model, CompressedRecording.from_bytes(made.to_bytes()))
    # Byte for byte the file that it was.
    assert back.to_bytes() == given.to_bytes()


def test_what_the_model_expects_takes_few_bits(folder: Path) -> None:
    model = CodeModel.from_pretrained(folder)
    predictor, likely = model.predictor("torch"), []
    for _ in range(16):
        likely.append(int(np.argmax(predictor.frequencies())))
        predictor.read(likely[-1])
    expected = CodedRecording(HEADER, np.array(likely, np.uint16), 16 * 1024)
    generator = np.random.default_rng(0)
    others = CodedRecording(
        HEADER, generator.integers(0, CODEBOOK_SIZE, 16).astype(np.uint16), 16 * 1024
    )
    assert compress(model, expected).payload_bits < compress(model, others).payload_bits
    assert code_entropy([np.arange(8), np.arange(8)]) == 3.0


def test_other_probabilities_are_refused_and_never_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CodeModel.from_pretrained(folder)
    made = compress(model, recording())
    own = CodePredictor.frequencies
    # As another kind of machine may round: one frequency of every code differs.
    monkeypatch.setattr(
        CodePredictor,
        "frequencies",
        lambda self: own(self) + (np.arange(CODEBOOK_SIZE) == 0) * 9999,
    )
    with pytest.raises(BitstreamError, match="block 0 does not come back"):
        decompress(model, made)


def test_another_model_codec_or_engine_is_refused_by_name(
    folder: Path, make_lm: Callable[..., SpeechLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CodeModel.from_pretrained(folder)
    made = compress(model, recording(), engine="torch")
    other = folder.with_name("other")
    make_lm(codec_fingerprint=CODEC, max_seq_len=24, seed=1).save_pretrained(other)
    with pytest.raises(BitstreamError, match=f"by language model {model.fingerprint}"):
        decompress(CodeModel.from_pretrained(other), made)
    foreign = replace(HEADER, codec_fingerprint="f" * 16)
    with pytest.raises(BitstreamError, match="made by codec ffff"):
        compress(model, recording(header=foreign))
    monkeypatch.setattr("slm.compression.code_model.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"a C\+\+ compiler"):
        decompress(model, replace(made, engine="native"))


def test_settings_of_drawing_leave_the_fingerprint_and_weights_change_it(
    folder: Path, make_lm: Callable[..., SpeechLM]
) -> None:
    before = model_fingerprint(folder)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("temperature: 0.8", "temperature: 0.3"))
    assert model_fingerprint(folder) == before
    # Nor does a task that the model was trained on, which came later than fingerprints.
    (folder / "config.yaml").write_text(text.replace("transcribes: false", "transcribes: true"))
    assert model_fingerprint(folder) == before
    make_lm(codec_fingerprint=CODEC, max_seq_len=24, seed=1).save_pretrained(folder)
    assert model_fingerprint(folder) != before


def test_folders_are_compressed_and_restored_and_failures_spare_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = tmp_path / "codes"
    (codes / "a").mkdir(parents=True)
    recording(40).save(codes / "a" / "one.hhc")
    recording(20).save(codes / "two.hhc")
    models = ["--lm", str(folder), "--json"]
    assert main(["compress", str(codes), str(tmp_path / "small"), *models]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["num_done"], report["num_codes"]) == (2, 60)
    assert report["fixed_bits_per_second"] == pytest.approx(6 * 60 / report["duration"])
    assert report["bits_per_second"] < report["file_bits_per_second"]
    (tmp_path / "small" / "bad.hhc").write_bytes(b"no stream")
    assert main(["decompress", str(tmp_path / "small"), str(tmp_path / "back"), *models]) == 1
    assert json.loads(capsys.readouterr().out)["num_failed"] == 1
    for name in ("a/one.hhc", "two.hhc"):
        assert (tmp_path / "back" / name).read_bytes() == (codes / name).read_bytes()


def test_a_file_is_never_written_over_itself(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording().save(tmp_path / "a.hhc")
    same = str(tmp_path / "a.hhc")
    assert main(["compress", same, same, "--lm", str(folder)]) == 2
    assert main(["compress", same, str(tmp_path / "b.wav"), "--lm", str(folder)]) == 2
    assert main(["compress", str(tmp_path / "none"), same, "--lm", str(folder)]) == 2
    assert "got neither" in capsys.readouterr().err


def test_a_resumed_folder_notices_what_has_changed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes, small = tmp_path / "codes", tmp_path / "small"
    codes.mkdir()
    recording(20).save(codes / "a.hhc")
    recording(20).save(codes / "b.hhc")
    call = ["compress", str(codes), str(small), "--lm", str(folder), "--resume", "--json"]

    def done() -> int:
        assert main(call) == 0
        return json.loads(capsys.readouterr().out)["num_done"]

    assert (done(), done()) == (2, 0)
    recording(40).save(codes / "a.hhc")
    assert (done(), done()) == (1, 0)
    assert main(["decompress", str(small / "a.hhc"), str(tmp_path / "a.hhc"), *call[3:5]]) == 0
    assert (tmp_path / "a.hhc").read_bytes() == (codes / "a.hhc").read_bytes()
    capsys.readouterr()
    # Outputs of a call that noted nothing count while they are not older than their source.
    (small / ".origins.jsonl").unlink()
    assert done() == 0


def test_a_folder_becomes_no_folder_of_a_files_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "codes").mkdir()
    recording(20).save(tmp_path / "codes" / "a.hhc")
    call = ["compress", str(tmp_path / "codes"), str(tmp_path / "out.hhc"), "--lm", str(folder)]
    assert main(call) == 2
    assert "expected the name of a folder" in capsys.readouterr().err
    assert not (tmp_path / "out.hhc").exists()
