from __future__ import annotations

import shutil
import struct
from collections.abc import Callable

import numpy as np
import pytest

from eval.baselines.classical_codecs import (
    CODEC2_MODES,
    RECODERS,
    Codec2Recoder,
    OpusRecoder,
    ProgramMissingError,
    make_recoder,
    opus_payload,
)
from eval.metrics.lag import estimate_lag
from eval.protocols import Recoder

needs_codec2 = pytest.mark.skipif(shutil.which("c2enc") is None, reason="apt install codec2")
needs_opus = pytest.mark.skipif(shutil.which("opusenc") is None, reason="apt install opus-tools")


def ogg_page(*packets: bytes) -> bytes:
    lacing = b"".join(bytes([255] * (len(p) // 255) + [len(p) % 255]) for p in packets)
    head = b"OggS" + bytes(22) + struct.pack("B", len(lacing))
    return head + lacing + b"".join(packets)


@pytest.mark.parametrize(("name", "package"), [("codec2_1200", "codec2"), ("opus_6", "opus-tools")])
def test_a_missing_program_names_its_debian_package(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ProgramMissingError, match=f"apt install {package}$"):
        make_recoder(name)


@pytest.mark.parametrize("name", ["codec2_450", "mp3", "opus_5"])
def test_an_unknown_coder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="coder: expected one of"):
        make_recoder(name)
    with pytest.raises(ValueError, match="Codec2 mode: expected one of"):
        Codec2Recoder("450")
    with pytest.raises(ValueError, match="Opus kbit/s: expected a number in"):
        OpusRecoder(5)


def test_the_band_limit_removes_what_lies_above_4_khz_and_nothing_below() -> None:
    time = np.arange(24000) / 24000
    low, high = (0.3 * np.sin(2 * np.pi * f * time).astype(np.float32) for f in (1000, 6000))
    recoded = make_recoder("band_limit_8k").recode(low + high, 24000)
    assert recoded.bits is None
    assert recoded.waveform.shape == (24000,)
    middle = slice(2000, -2000)
    assert np.abs(recoded.waveform - low)[middle].max() < 0.01


def test_the_original_comes_back_as_it_is() -> None:
    waveform = np.linspace(-1, 1, 100, dtype=np.float32)
    recoder = make_recoder("original")
    assert isinstance(recoder, Recoder)
    assert recoder.recode(waveform, 24000).waveform.tolist() == waveform.tolist()


def test_packets_are_counted_without_headers_and_pages() -> None:
    # A packet of 300 bytes takes two lacing values, one of 255 ends with a zero.
    data = ogg_page(b"h" * 19) + ogg_page(b"t" * 400) + ogg_page(b"a" * 300, b"b" * 255, b"c" * 7)
    assert opus_payload(data) == 300 + 255 + 7
    with pytest.raises(ValueError, match="expected an Ogg page at byte 0"):
        opus_payload(b"RIFF" + bytes(40))


@needs_codec2
@pytest.mark.parametrize("mode", ["3200", "1300", "700C"])
def test_codec2_keeps_the_length_and_takes_its_rate(
    mode: str, make_speech: Callable[..., np.ndarray]
) -> None:
    waveform = make_speech(2.0)[:47990]
    recoder = make_recoder(f"codec2_{mode.lower()}")
    recoded = recoder.recode(waveform, 24000)
    assert recoded.waveform.shape == waveform.shape
    samples, bits = CODEC2_MODES[mode]
    frames = -(-15997 // samples)
    assert recoded.bits == frames * -(-bits // 8) * 8
    # It comes late, which metrics have to undo.
    assert 0 < estimate_lag(waveform, recoded.waveform, 24000) < 60


@needs_opus
def test_opus_keeps_length_and_time_and_takes_its_rate(
    make_speech: Callable[..., np.ndarray],
) -> None:
    waveform = make_speech(2.0)
    recoded = make_recoder("opus_6").recode(waveform, 24000)
    assert recoded.waveform.shape == waveform.shape
    assert recoded.bits is not None
    assert 5900 < recoded.bits / 2.0 < 6400
    assert abs(estimate_lag(waveform, recoded.waveform, 24000)) <= 1


def test_every_name_of_the_ladder_is_that_of_its_coder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert {name: make_recoder(name).name for name in RECODERS} == {n: n for n in RECODERS}
