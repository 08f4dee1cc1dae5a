"""`hh-slm transcribe` over files, folders, coded files and token stores."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codec import HHCodec
from codec.audio import write_audio
from codec.bitstream.format import CodedRecording, StreamHeader
from codec.files.json_lines import read_json_lines
from slm.cli.main import main
from slm.data.token_store import TokenStoreWriter
from slm.text.sentencepiece_tokenizer import TextTokenizer
from tests.support.builders import new_lm

CODES = np.arange(12)


@pytest.fixture(scope="module")
def models(
    codec: HHCodec, tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    folder = tmp_path_factory.mktemp("transcribing")
    codec.save_pretrained(folder / "codec")
    lm = new_lm(codec, tokenizer, max_seq_len=160, transcribes=True)
    lm.config = replace(lm.config, codec_fingerprint=codec.code_fingerprint)
    lm.save_pretrained(folder / "lm", tokenizer)
    options = ["--codec", str(folder / "codec"), "--lm", str(folder / "lm")]
    return [*options, "--max-tokens", "4", "--beam", "2"]


@pytest.fixture
def recordings(
    codec: HHCodec, make_waveform: Callable[..., np.ndarray], tmp_path: Path
) -> tuple[Path, Path]:
    """A folder of a recording and coded ones, and a token store of the codes of one."""
    folder = tmp_path / "recordings"
    write_audio(folder / "sound.wav", make_waveform(duration=0.5))
    sizes = codec.sample_rate, codec.hop_length, codec.codebook_size
    for name, fingerprint in (("coded", codec.code_fingerprint), ("foreign", "f" * 16)):
        header = StreamHeader(fingerprint, *sizes)
        recording = CodedRecording(header, CODES.astype(np.uint16), 12 * codec.hop_length)
        recording.save(folder / f"{name}.hhc")
    writer = TokenStoreWriter(
        tmp_path / "store",
        codec_fingerprint=codec.code_fingerprint,
        codebook_size=codec.codebook_size,
        frame_rate=codec.frame_rate,
    )
    writer.add(CODES, {"id": "u0"})
    writer.close()
    return folder, tmp_path / "store"


def test_files_folders_coded_files_and_stores_are_transcribed(
    models: list[str],
    recordings: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, store = recordings
    out = tmp_path / "texts.jsonl"
    call = ["transcribe", str(folder), str(store), *models, "--rows", "3"]
    # The coded file of another codec is reported, the others are transcribed.
    assert main([*call, "--json", "-o", str(out)]) == 1
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert list(report) == [
        *(str(folder / name) for name in ("coded.hhc", "foreign.hhc", "sound.wav")),
        f"{store}/u0",
    ]
    assert "made by codec ffff" in report[str(folder / "foreign.hhc")]["error"]
    assert f"failed: {folder / 'foreign.hhc'}: " in printed.err
    # Codes are codes, wherever they lie.
    assert report[f"{store}/u0"] == report[str(folder / "coded.hhc")]
    assert report[str(folder / "sound.wav")]["num_codes"] == 12
    rows = read_json_lines(out)
    assert [row["audio"] for row in rows] == list(report)
    assert rows[0]["text"] == report[rows[0]["audio"]]["text"]


def test_one_recording_prints_its_text_and_several_their_names(
    models: list[str],
    recordings: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sound, coded = (str(recordings[0] / name) for name in ("sound.wav", "coded.hhc"))
    assert main(["transcribe", coded, *models]) == 0
    alone = capsys.readouterr().out
    assert alone.endswith("\n")
    assert main(["transcribe", coded, sound, *models]) == 0
    both = capsys.readouterr().out
    assert both.startswith(f"{coded}\t{alone}{sound}\t")
    assert main(["transcribe", coded, *models, "-o", str(tmp_path / "a.txt")]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "a.txt").read_text("utf-8") == alone


def test_a_wrong_call_is_one_line_on_stderr(
    models: list[str],
    model_folders: tuple[Path, Path],
    recordings: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    coded, plain = str(recordings[0] / "coded.hhc"), str(model_folders[1])
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").mkdir()
    mine = tmp_path / "mine.jsonl"
    mine.write_text("{}\n")
    for words, message in (
        ([coded, "--lm", plain], "trained to transcribe"),
        ([coded, *models, "-o", "a.wav"], "--out to end in .jsonl or .txt"),
        ([coded, *models, "--temperature", "1"], "beam: expected 1 where tokens are drawn"),
        ([str(tmp_path / "none"), *models], "got neither"),
        ([str(tmp_path / "empty"), *models], "expected files of .wav"),
        ([coded, *models, "-o", str(tmp_path / "a.txt")], "got the folder"),
        ([str(mine), *models, "-o", str(mine)], "expected --out to name another file"),
    ):
        assert main(["transcribe", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert mine.read_text() == "{}\n"


def test_a_name_with_line_ends_stays_on_its_line(
    models: list[str], recordings: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    coded = recordings[0] / "coded.hhc"
    odd = coded.with_name("a\tb\nc.hhc")
    odd.write_bytes(coded.read_bytes())
    assert main(["transcribe", str(coded), str(odd), *models]) == 0
    first, second = capsys.readouterr().out.split("\n")[:2]
    assert second.split("\t")[0] == f"{coded.parent}/a\\tb\\nc.hhc"
    assert second.split("\t")[1] == first.split("\t")[1]


def test_rows_of_two_stores_that_go_by_one_name_are_refused(
    models: list[str],
    recordings: tuple[Path, Path],
    codec: HHCodec,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = recordings[1]
    for folder, item in ((store / "more", "u"), (store.with_name("other"), "more/u")):
        writer = TokenStoreWriter(
            folder,
            codec_fingerprint=codec.code_fingerprint,
            codebook_size=codec.codebook_size,
            frame_rate=codec.frame_rate,
        )
        writer.add(CODES, {"id": item})
        writer.close()
    other = store.with_name("other")
    (other / "more").symlink_to(store / "more")
    assert main(["transcribe", str(other), str(other / "more"), *models]) == 2
    assert "expected each name once" in capsys.readouterr().err
