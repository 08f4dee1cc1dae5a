from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec.bitstream.format import BitstreamError, CodedRecording, StreamHeader
from codec.bitstream.open_formats import CODE_SUFFIXES, load_codes, read_codes, save_codes

HEADER = StreamHeader("0123456789abcdef", 24_000, 1024, 8192, level_dbfs=-20.5)
RECORDING = CodedRecording(HEADER, np.array([0, 8191, 5, 5, 77], np.uint16), 4 * 1024 + 3)


@pytest.mark.parametrize("suffix", CODE_SUFFIXES)
@pytest.mark.parametrize("level", [None, -20.5])
def test_codes_come_back_from_every_form(tmp_path: Path, suffix: str, level: float | None) -> None:
    recording = replace(RECORDING, header=replace(HEADER, level_dbfs=level))
    path = tmp_path / f"codes{suffix.upper()}"
    save_codes(path, recording)
    other = replace(HEADER, codec_fingerprint="f" * 16, level_dbfs=None)
    for name in ("codes", "moved.bin"):  # told by what the file holds
        path = path.rename(tmp_path / name)
        found = load_codes(path, other)
        assert found.codes.tolist() == recording.codes.tolist()
        assert found.codes.dtype == np.uint16
        if suffix == ".npy":  # the codes and nothing else
            assert (found.header, found.num_samples) == (other, 5 * 1024)
        else:
            assert (found.header, found.num_samples) == (recording.header, recording.num_samples)


def test_other_programs_read_them_without_this_package(tmp_path: Path) -> None:
    for suffix in CODE_SUFFIXES:
        save_codes(tmp_path / f"codes{suffix}", RECORDING)
    codes = RECORDING.codes.tolist()
    assert np.load(tmp_path / "codes.npy", allow_pickle=False).tolist() == codes
    fields = torch.load(tmp_path / "codes.pt", weights_only=True)
    assert fields["codes"].tolist() == codes
    assert json.loads((tmp_path / "codes.json").read_text())["codes"] == codes
    assert fields["num_samples"] == RECORDING.num_samples


def test_any_width_of_an_array_is_taken() -> None:
    for given in (np.arange(4), np.arange(4, dtype=np.int32)[None], np.arange(4, dtype=np.uint8)):
        file = io.BytesIO()
        np.save(file, given)
        assert read_codes(file.getvalue(), HEADER).codes.tolist() == [0, 1, 2, 3]


def test_a_level_of_another_program_is_rounded_to_what_streams_state() -> None:
    fields = {**vars(HEADER), "num_samples": 1024, "codes": [3], "level_dbfs": -20.3}
    assert read_codes(json.dumps(fields).encode(), HEADER).header.level_dbfs == -20.5


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def npy(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value, **options)
    return file.getvalue()


def fields(**changes: Any) -> bytes:
    whole = {**vars(HEADER), "num_samples": 3, "codes": [1], **changes}
    return json.dumps({name: value for name, value in whole.items() if value != "gone"}).encode()


def tensor_fields(codes: torch.Tensor) -> bytes:
    return saved({**vars(HEADER), "num_samples": 3, "codes": codes})


STRANGE_TENSORS = (
    torch.ones(1).bfloat16(),
    torch.ones(1, requires_grad=True),
    torch.ones(1, dtype=torch.int64).to_sparse(),
    torch.ones(1, dtype=torch.int64, device="meta"),
)


def test_a_byte_order_mark_before_json_is_no_part_of_it() -> None:
    assert read_codes(b"\xef\xbb\xbf" + fields(), HEADER).codes.tolist() == [1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no .hhc stream"),
        (b"RIFF....WAVE", "expected codes as .hhc, .npy, .pt, .json, got a file that starts"),
        (npy(np.zeros(3)), "integer codes .* float64"),
        (npy(np.zeros((2, 3), np.int64)), r"integer codes .*\(2, 3\)"),
        (npy(np.array(3)), r"integer codes .*\(\)"),
        (npy(np.zeros(0, np.int64)), r"integer codes .*\(0,\)"),
        (npy(np.array([8192])), r"codes in 0\.\.8191, got 8192"),
        (npy(np.array([print]), allow_pickle=True), "the .npy file is damaged"),
        (npy(np.arange(9))[:-8], "the .npy file is damaged"),
        (saved({"codes": print}), "the .pt file is damaged or holds objects"),
        (saved([1, 2]), "expected the fields .* got list"),
        (saved({"codes": torch.zeros(2)}), "expected the fields .*num_samples"),
        (b"PK damaged", "the .pt file is damaged"),
        (b"{", "expected codes as JSON"),
        (b'{"a":' * 100_000, "expected codes as JSON"),
        (fields(codes="gone"), "expected the fields .*codes, got"),
        (fields(num_samples=2000), "expected 2 codes for 2000 samples, got 1"),
        (fields(num_samples=1.5), "whole number as num_samples, got 1.5"),
        (fields(codes=[[1], [2, 3]]), "integer codes"),
        (fields(codes=["a"]), "integer codes"),
        (fields(codec_fingerprint=3), "a fingerprint and a level, got 3"),
        (fields(codec_fingerprint="x"), "codec_fingerprint is 'x'"),
        (fields(hop_length=0), "hop_length is 0"),
        (fields()[:-1] + b', "num_samples": 9}', "each key once, got 'num_samples' again"),
        (b'{"codes": "\xff"}', "expected codes as JSON"),
        (fields(level_dbfs=1e9), "a fingerprint and a level"),
        (fields(level_dbfs=float("nan")), "a fingerprint and a level"),
        (fields(level_dbfs=True), "a fingerprint and a level"),
        *((tensor_fields(codes), "integer codes") for codes in STRANGE_TENSORS),
    ],
)
def test_what_holds_no_codes_is_refused_in_a_line(data: bytes, message: str) -> None:
    with pytest.raises(BitstreamError, match=message) as refused:
        read_codes(data, HEADER)
    assert "\n" not in str(refused.value)


def test_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(BitstreamError, match=r"a\.npy: the \.npy file is damaged"):
        load_codes(tmp_path / "a.npy", HEADER)
    with pytest.raises(BitstreamError, match=r"a\.txt: expected a name ending in \.hhc or \.npy"):
        save_codes(tmp_path / "a.txt", RECORDING)
