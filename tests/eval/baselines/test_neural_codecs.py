"""Adapters at random weights: what they promise, and that they do what the models do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.baselines.neural_codecs import PEERS, TransformersTokenizer
from eval.protocols import Tokenizer
from tests.support.peers import tiny_mimi

transformers = pytest.importorskip("transformers")


def tiny_encodec() -> Any:
    config = transformers.EncodecConfig(
        hidden_size=16,
        num_filters=4,
        upsampling_ratios=(4, 4, 4, 4),
        codebook_size=32,
        num_lstm_layers=1,
        target_bandwidths=(0.47, 1.88),
    )
    return transformers.EncodecModel(config)


def tiny_dac() -> Any:
    config = transformers.DacConfig(
        encoder_hidden_size=8,
        decoder_hidden_size=32,
        downsampling_ratios=[4, 4],
        n_codebooks=3,
        codebook_size=32,
        codebook_dim=4,
        hidden_size=32,
        sampling_rate=16000,
    )
    return transformers.DacModel(config)


def tiny_xcodec2() -> Any:
    semantic = transformers.Wav2Vec2BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        feature_projection_input_dim=160,
        conv_depthwise_kernel_size=3,
    )
    config = transformers.Xcodec2Config(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        encoder_hidden_size=4,
        quantization_dim=64,
        semantic_model_config=semantic,
    )
    return transformers.Xcodec2Model(config)


# Model, samples of a frame, entries of a codebook, codebooks there are.
TINY: dict[str, tuple[Callable[[], Any], int, int, int]] = {
    "encodec": (tiny_encodec, 256, 32, 4),
    "dac": (tiny_dac, 16, 32, 3),
    "mimi": (tiny_mimi, 256, 32, 4),
    "xcodec2": (tiny_xcodec2, 320, 65536, 1),
}


@pytest.fixture(scope="module", params=sorted(TINY))
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Kind, folder and model of random weights; codebooks start as zeros, so they are drawn."""
    kind = request.param
    torch.manual_seed(0)
    model = TINY[kind][0]().eval()
    for name, buffer in model.named_buffers():
        if name.endswith(("embed", "embed_sum")):
            buffer.normal_()
        elif name.endswith("cluster_usage"):
            buffer.fill_(1.0)
    for name, parameter in model.named_parameters():
        if "project_in" in name:
            torch.nn.init.normal_(parameter)
    folder = tmp_path_factory.mktemp(kind)
    model.save_pretrained(folder)
    return kind, folder, model


def test_a_peer_keeps_the_promises_of_a_tokenizer(saved: Any) -> None:
    kind, folder, _ = saved
    _, hop, size, most = TINY[kind]
    tokenizer = TransformersTokenizer(kind, folder, num_codebooks=min(2, most))
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.name == f"{kind}_{min(2, most)}"
    assert tokenizer.frame_rate == tokenizer.sample_rate / hop
    assert tokenizer.tokens_per_second == tokenizer.frame_rate * tokenizer.num_codebooks
    assert tokenizer.codebook_size == size
    waveform = 0.1 * np.random.default_rng(0).standard_normal(9001).astype(np.float32)
    codes = tokenizer.encode(waveform)
    assert codes.dtype == np.int64
    assert len(codes) == tokenizer.num_codebooks
    assert 0 <= codes.shape[1] - 9001 / hop < 2
    assert codes.max() < size
    assert len(np.unique(codes)) > 1
    decoded = tokenizer.decode(codes, 9001)
    assert decoded.shape == (9001,)
    assert np.isfinite(decoded).all()
    again = TransformersTokenizer(kind, folder, num_codebooks=min(2, most))
    assert again.fingerprint == tokenizer.fingerprint
    assert np.array_equal(again.encode(waveform), codes)


def test_all_codebooks_give_what_the_model_itself_gives(saved: Any) -> None:
    kind, folder, model = saved
    if kind == "xcodec2":
        pytest.skip("its forward pass takes features, which the adapter computes")
    tokenizer = TransformersTokenizer(kind, folder, num_codebooks=TINY[kind][3])
    waveform = 0.1 * np.random.default_rng(1).standard_normal(4096).astype(np.float32)
    options = {"bandwidth": 1.88} if kind == "encodec" else {}
    with torch.no_grad():
        whole = model(torch.from_numpy(waveform)[None, None], **options).audio_values
    decoded = tokenizer.decode(tokenizer.encode(waveform), 4096)
    expected = whole.reshape(-1)[:4096].numpy()
    np.testing.assert_allclose(decoded[: len(expected)], expected, atol=1e-5)


def test_what_does_not_fit_is_refused(saved: Any) -> None:
    kind, folder, _ = saved
    most = TINY[kind][3]
    with pytest.raises(ValueError, match=f"expected 1 to {most} codebooks of {kind}, got 99"):
        TransformersTokenizer(kind, folder, num_codebooks=99)
    tokenizer = TransformersTokenizer(kind, folder, num_codebooks=1)
    with pytest.raises(ValueError, match=r"expected codes \(1, L\)"):
        tokenizer.decode(np.zeros((2, 4), np.int64), 100)
    with pytest.raises(ValueError, match="expected codes in"):
        tokenizer.decode(np.full((1, 4), tokenizer.codebook_size), 100)
    with pytest.raises(ValueError, match="expected a waveform"):
        tokenizer.encode(np.zeros(0, np.float32))


def test_missing_weights_are_refused_with_the_ones_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected mimi weights \(CC-BY-4.0\)"):
        TransformersTokenizer("mimi", tmp_path)
    with pytest.raises(ValueError, match="codec: expected one of"):
        TransformersTokenizer("mp3")
    assert all(hasattr(transformers, peer.model) for peer in PEERS.values())
