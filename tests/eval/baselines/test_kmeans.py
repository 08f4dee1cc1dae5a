from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.baselines.kmeans import (
    KMeansSettings,
    KMeansTokenizer,
    griffin_lim,
    nearest,
    stacked_frames,
    train_kmeans,
)
from eval.metrics.mel import log_mel
from eval.protocols import Tokenizer

SMALL = KMeansSettings(codebook_size=16, stack=2, n_mels=40, iterations=5, griffin_lim_steps=8)


@pytest.fixture(scope="module")
def tokenizer(make_speech: Callable[..., np.ndarray]) -> KMeansTokenizer:
    return train_kmeans([make_speech(1.0, seed=n) for n in range(2)], SMALL, name="km16")


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 5120])
def test_a_clip_gives_one_code_every_stack_of_frames(
    tokenizer: KMeansTokenizer, samples: int, make_speech: Callable[..., np.ndarray]
) -> None:
    assert isinstance(tokenizer, Tokenizer)
    codes = tokenizer.encode(make_speech(1.0)[:samples])
    assert codes.shape == (1, -(-samples // 512))
    assert codes.dtype == np.int64
    assert tokenizer.frame_rate == 24000 / 512 == tokenizer.tokens_per_second
    assert tokenizer.decode(codes, samples).shape == (samples,)


def test_decoded_frames_encode_to_nearly_the_same_mel(
    tokenizer: KMeansTokenizer, make_speech: Callable[..., np.ndarray]
) -> None:
    waveform = make_speech(1.0)
    decoded = tokenizer.decode(tokenizer.encode(waveform), len(waveform))
    near = np.abs(log_mel(decoded) - log_mel(waveform)).mean()
    noise = np.random.default_rng(0).normal(0, waveform.std(), len(waveform))
    assert near < 0.5 * np.abs(log_mel(noise) - log_mel(waveform)).mean()


def test_more_centroids_leave_a_smaller_error(make_speech: Callable[..., np.ndarray]) -> None:
    waveforms = [make_speech(1.0, seed=n) for n in range(2)]
    errors = []
    for size in (1, 4, 32):
        settings = KMeansSettings(codebook_size=size, stack=2, n_mels=40, iterations=5)
        centroids = train_kmeans(waveforms, settings).centroids
        frames = torch.from_numpy(stacked_frames(waveforms[0], settings))
        errors.append(float((frames - centroids[nearest(frames, centroids)]).square().mean()))
    assert errors[0] > errors[1] > errors[2]


def test_clusters_that_stand_apart_are_found() -> None:
    """Two tones at fixed levels are two clusters, whatever the first draw."""
    settings = KMeansSettings(codebook_size=2, stack=1, n_mels=40, hop_length=1024, iterations=8)
    time = np.arange(24000) / 24000
    tones = [0.5 * np.sin(2 * np.pi * f * time).astype(np.float32) for f in (300, 4000)]
    codes = [train_kmeans(tones, settings).encode(tone)[0, 1:-1] for tone in tones]
    assert [len(set(part.tolist())) for part in codes] == [1, 1]
    assert codes[0][0] != codes[1][0]


def test_a_saved_tokenizer_is_the_same_and_one_of_other_data_is_not(
    tokenizer: KMeansTokenizer, tmp_path: Path, make_speech: Callable[..., np.ndarray]
) -> None:
    loaded = KMeansTokenizer.load(tokenizer.save(tmp_path / "km"))
    assert (loaded.name, loaded.fingerprint) == ("km16", tokenizer.fingerprint)
    other = train_kmeans([make_speech(1.0, seed=9)], SMALL)
    assert other.fingerprint != tokenizer.fingerprint
    again = train_kmeans([make_speech(1.0, seed=9)], SMALL)
    assert again.fingerprint == other.fingerprint


def test_what_a_caller_gets_wrong_is_named(
    tokenizer: KMeansTokenizer, tmp_path: Path, make_speech: Callable[..., np.ndarray]
) -> None:
    with pytest.raises(ValueError, match="at least 16 frames"):
        train_kmeans([make_speech(1.0)[:600]], SMALL)
    with pytest.raises(ValueError, match=r"codes \(1, L\)"):
        tokenizer.decode(np.zeros((2, 3), np.int64), 10)
    with pytest.raises(ValueError, match=r"codes in \[0, 16\)"):
        tokenizer.decode(np.array([[16]]), 10)
    with pytest.raises(ValueError, match="expected a k-means tokenizer"):
        KMeansTokenizer.load(tmp_path)
    with pytest.raises(ValueError, match="codebook_size: expected a number >= 1, got 0"):
        KMeansSettings(codebook_size=0)


def test_griffin_lim_finds_a_waveform_of_that_spectrum(
    make_speech: Callable[..., np.ndarray],
) -> None:
    window = torch.hann_window(1024)
    options = {"n_fft": 1024, "hop_length": 256, "window": window, "return_complex": True}
    wanted = torch.stft(torch.from_numpy(make_speech(0.5)), **options).abs()[:, :-1]
    errors = []
    for steps in (0, 40):
        found = torch.stft(griffin_lim(wanted, 1024, 256, steps=steps), **options).abs()[:, :-1]
        errors.append(float((found - wanted).norm() / wanted.norm()))
    assert errors[1] < 0.5 * errors[0]
