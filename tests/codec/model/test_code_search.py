"""Codes chosen by what they decode to, beside a search one code and one entry at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from codec import CodecConfig, HHCodec
from codec.model import code_search
from codec.model.code_search import REACH, SPACING
from codec.model.mel import LogMel
from codec.streaming.long_form import encode_clip, encode_stream
from tests.support.codecs import tiny_codec, voiced_codec

Maker = Callable[..., np.ndarray]


@pytest.fixture(autouse=True)
def mels_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let mels of random weights, which differ little, outweigh the distance of entries."""
    monkeypatch.setattr(code_search, "WEIGHT", 1e-3)


def codec_of(kind: str) -> HHCodec:
    """Make a codec of a kind of quantizer, or one with a voice code."""
    if kind == "voice":
        return voiced_codec()
    settings: dict[str, Any] = {
        "simvq": {},
        "ema": {"transform": "none"},
        "fsq": {"levels": (4, 4, 4), "num_stages": 1, "transform": "none"},
        "bsq": {"levels": (2,) * 6, "num_stages": 1, "transform": "none"},
    }[kind]
    config = CodecConfig.preset("tiny")
    quantizer = replace(config.quantizer, kind=kind, **settings)
    return tiny_codec(replace(config, quantizer=quantizer))


def mel_errors(codec: HHCodec, codes: Tensor, waveform: Tensor) -> Tensor:
    """Mean error of the decoded log-mel at each code, (L,)."""
    scaled = codec.scaled(waveform)
    mel = codec.decode_mel(codes, codec.encode_voice(waveform))
    log_mel = LogMel(codec.config.mel)(scaled)
    return (mel - log_mel).abs().mean(1).unflatten(-1, (-1, codec.config.upsampling)).mean(-1)[0]


def one_by_one(codec: HHCodec, waveform: Tensor, search: int) -> Tensor:
    """Codes (1, L) of whole codes of sound, each tried alone, in turn."""
    codes = codec.encode(waveform)[0]
    points = codec.quantizer.normalize(codec.encoder(codec.scaled(waveform)))[0].T
    distances = (points[:, None] - codec.quantizer.codebook).square().mean(-1)  # (L, K)
    for place in range(codes.shape[1]):
        costs = {}
        for entry in distances[place].argsort()[: search + 1].tolist():
            tried = codes.clone()
            tried[0, place] = entry
            errors = mel_errors(codec, tried, waveform)
            near = errors[max(0, place - REACH) : place + REACH + 1].sum()
            costs[entry] = float(near + code_search.WEIGHT * distances[place, entry])
        codes[0, place] = min(costs, key=lambda entry: costs[entry])
    return codes


@pytest.mark.parametrize("search", [1, 3])
@torch.no_grad()
def test_a_clip_of_few_codes_gets_those_of_a_search_one_by_one(
    search: int, make_waveform: Maker
) -> None:
    codec, changed = tiny_codec(), 0
    for seed in range(6):
        length = SPACING * codec.hop_length
        waveform = torch.from_numpy(make_waveform(0.5, seed=seed)[:length])[None]
        found = codec.encode(waveform, search=search)[0]
        assert found.tolist() == one_by_one(codec, waveform, search).tolist()
        changed += int((found != codec.encode(waveform)[0]).sum())
    assert changed


@pytest.mark.parametrize("kind", ["simvq", "ema", "fsq", "bsq", "voice"])
def test_searched_codes_decode_nearer_to_the_recording(
    kind: str, make_waveform: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = codec_of(kind)
    # Each code moves all of the mel of a decoder that has learnt nothing.
    monkeypatch.setattr(code_search, "REACH", SPACING)
    samples = make_waveform(1.0, seed=3)[: SPACING * codec.hop_length]
    waveform = torch.from_numpy(samples)[None]
    nearest, searched = codec.encode(waveform)[0], codec.encode(waveform, search=16)[0]
    assert searched.shape == nearest.shape
    assert searched.dtype == torch.int64
    assert (searched != nearest).any()
    before, after = (mel_errors(codec, c, waveform).mean() for c in (nearest, searched))
    assert after < before


def test_a_clip_gets_the_same_codes_in_any_batch(make_waveform: Maker) -> None:
    codec = tiny_codec()
    clips = [make_waveform(seconds, seed=seed) for seed, seconds in enumerate((1.0, 0.4, 0.02))]
    together, counts = codec.encode(clips, search=2)
    for row, clip in enumerate(clips):
        alone, _ = codec.encode(clip, search=2)
        assert together[row, : counts[row]].tolist() == alone[0].tolist()


def test_rows_of_one_length_are_searched_together_as_alone(make_waveform: Maker) -> None:
    codec = tiny_codec()
    clips = [make_waveform(0.5, seed=seed)[: 10 * codec.hop_length] for seed in range(3)]
    clips[1][: 8 * codec.hop_length] = 0  # mostly silence, which is decoded otherwise
    scaled = torch.cat([codec.scaled(torch.from_numpy(clip)[None]) for clip in clips])
    together = codec.encode_scaled(scaled, 2)
    alone = torch.cat([codec.encode_scaled(row[None], 2) for row in scaled])
    assert together.tolist() == alone.tolist()


def test_how_many_entries_are_decoded_at_once_changes_nothing(
    make_waveform: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, clip = tiny_codec(), make_waveform(0.5)
    expected = codec.encode(clip, search=11)[0].tolist()
    monkeypatch.setattr(code_search, "AT_ONCE", 3)
    assert codec.encode(clip, search=11)[0].tolist() == expected


def test_autocast_around_a_search_changes_no_code(make_waveform: Maker) -> None:
    codec, clip = tiny_codec(), make_waveform(0.5)
    expected = codec.encode(clip, search=3)[0].tolist()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert codec.encode(clip, search=3)[0].tolist() == expected


def test_no_search_is_the_nearest_entry(make_waveform: Maker) -> None:
    codec, clip = tiny_codec(), make_waveform(1.0)
    assert codec.encode(clip, search=0)[0].tolist() == codec.encode(clip)[0].tolist()


def test_silence_and_more_entries_than_there_are_can_be_searched() -> None:
    codec = tiny_codec()
    codes, _ = codec.encode(np.zeros(5_000, np.float32), search=10 * codec.codebook_size)
    assert codes.shape == (1, 5)


def test_a_codec_in_training_stays_in_training(make_waveform: Maker) -> None:
    codec, clip = tiny_codec(), make_waveform(0.5)
    expected = codec.encode(clip, search=2)[0]
    codec.train()
    assert codec.encode(clip, search=2)[0].tolist() == expected.tolist()
    assert codec.training
    assert codec.decoder.training


def test_every_window_of_a_long_recording_is_searched(make_waveform: Maker) -> None:
    codec, clip = tiny_codec(), make_waveform(12.0)

    def pieces(search: int) -> list[np.ndarray]:
        def read(first: int, count: int) -> np.ndarray:
            return clip[first : first + count]

        return list(encode_stream(codec, read, len(clip), size=200, overlap=16, search=search))

    nearest, searched = pieces(0), pieces(2)
    assert len(nearest) > 1
    assert [len(piece) for piece in searched] == [len(piece) for piece in nearest]
    for before, after in zip(nearest, searched, strict=True):
        assert (before != after).any()


@pytest.mark.parametrize("search", [-1, 1.5, True, "2"])
def test_a_search_of_no_number_of_entries_is_refused(search: object) -> None:
    codec = tiny_codec()
    with pytest.raises(ValueError, match="search: expected a whole number >= 0"):
        codec.encode(np.zeros(3_000, np.float32), search=search)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="search"):
        encode_clip(codec, np.zeros(3_000, np.float32), search=search)  # type: ignore[arg-type]
