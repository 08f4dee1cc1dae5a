from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from codec.code_file import CodeFile, CodeFileError


def code_file(**changes) -> CodeFile:
    fields = {
        "codes": np.array([3, 0, 8191], dtype=np.uint16),
        "num_samples": 2500,
        "sample_rate": 24_000,
        "hop_length": 1024,
        "codec_fingerprint": "0123456789abcdef",
    }
    return CodeFile(**{**fields, **changes})


def test_a_written_file_reads_back(tmp_path):
    written = code_file()
    written.save(tmp_path / "new" / "a.safetensors")
    read = CodeFile.load(tmp_path / "new" / "a.safetensors")
    np.testing.assert_array_equal(read.codes, written.codes)
    assert read.codes.dtype == np.uint16
    assert read.duration == 2500 / 24_000
    assert (read.num_samples, read.sample_rate, read.hop_length) == (2500, 24_000, 1024)
    assert read.codec_fingerprint == written.codec_fingerprint
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": np.zeros(3, dtype=np.int64)}, "int64"),
        ({"codes": np.zeros((1, 3), dtype=np.uint16)}, r"\(1, 3\)"),
        ({"num_samples": 0}, "num_samples >= 1"),
        ({"num_samples": 3073}, "expected 4 codes for 3073 samples, got 3"),
        ({"num_samples": 2048}, "expected 2 codes for 2048 samples, got 3"),
    ],
)
def test_fields_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(CodeFileError, match=message):
        code_file(**changes)


def test_another_codec_is_refused_by_both_names():
    code_file().check_codec("0123456789abcdef")
    with pytest.raises(CodeFileError, match=r"0123456789abcdef.*fedcba.*encode"):
        code_file().check_codec("fedcba")


def test_only_safetensors_names_are_written(tmp_path):
    with pytest.raises(CodeFileError, match=r"\.safetensors"):
        code_file().save(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def damaged(folder: Path) -> dict[str, Path]:
    """Files that are no code files, by what is wrong with them."""
    code_file().save(folder / "whole.safetensors")
    whole = (folder / "whole.safetensors").read_bytes()
    files = {name: folder / f"{name}.safetensors" for name in ("cut", "text", "other", "field")}
    files["cut"].write_bytes(whole[:-2])
    files["text"].write_text("not a code file")
    save_file({"codes": np.zeros(3, dtype=np.uint16)}, files["other"])
    files["field"].write_bytes(whole.replace(b"num_samples", b"num_sample_"))
    return files


@pytest.mark.parametrize("name", ["cut", "text", "other", "field"])
def test_a_damaged_file_is_named(tmp_path, name):
    with pytest.raises(CodeFileError, match=rf"{name}\.safetensors"):
        CodeFile.load(damaged(tmp_path)[name])


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        CodeFile.load(tmp_path / "none.safetensors")
