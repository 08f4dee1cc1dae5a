"""EnCodec, DAC, Mimi and X-Codec-2 as tokenizers, by the `transformers` package.

Weights come by hub name (downloaded by that package) or from a local folder that it saved. Codes
are those of the first K codebooks, on the CPU in float32.

EnCodec https://arxiv.org/abs/2210.13438, DAC https://arxiv.org/abs/2306.06546,
Mimi https://arxiv.org/abs/2410.00037, X-Codec-2 https://arxiv.org/abs/2502.04128.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from codec.checks import one_of
from codec.devices import usable_device
from codec.error_text import message_of
from codec.requirements import install_command

from .token_streams import fit_length


@dataclass(frozen=True)
class Peer:
    """One kind of codec."""

    model: str  # class name in `transformers`
    weights: str  # a published repository of weights
    num_codebooks: int  # K when none is asked for
    licence: str  # of those weights, as their model card states it


PEERS = {
    "encodec": Peer("EncodecModel", "facebook/encodec_24khz", 2, "MIT"),
    "dac": Peer("DacModel", "descript/dac_24khz", 2, "MIT"),
    "mimi": Peer("MimiModel", "kyutai/mimi", 8, "CC-BY-4.0"),
    "xcodec2": Peer("Xcodec2Model", "HKUSTAudio/xcodec2-hf", 1, "CC-BY-NC-4.0"),
}


class TransformersTokenizer:
    """One of `PEERS` behind the `Tokenizer` protocol.

    Args:
        kind: A key of `PEERS`.
        source: Hub name or local folder; None takes the published weights.
        num_codebooks: First K codebooks of a residual codec; None takes the kind's own.
        name: For tables; the kind and K when empty.

    Raises:
        ValueError: An unknown kind, no `transformers`, weights that are missing or of another
            model, or more codebooks than the model has.
    """

    def __init__(
        self,
        kind: str,
        source: str | os.PathLike[str] | None = None,
        *,
        num_codebooks: int | None = None,
        name: str = "",
        device: str = "cpu",
    ) -> None:
        one_of("codec", kind, sorted(PEERS))
        self.kind = kind
        self.source = str(source or PEERS[kind].weights)
        self._device = usable_device(device)
        self._model = _load(kind, self.source).to(self._device)
        config = self._model.config
        self.sample_rate = int(config.sampling_rate)
        if kind == "xcodec2":
            # One codebook, whose entries are the levels of every dimension.
            self.codebook_size, most = int(np.prod(config.quantization_levels)), 1
        else:
            self.codebook_size = int(config.codebook_size)
            most = int(config.n_codebooks if kind == "dac" else config.num_quantizers)
        self.num_codebooks = min(num_codebooks or PEERS[kind].num_codebooks, most)
        if num_codebooks is not None and not 1 <= num_codebooks <= most:
            raise ValueError(f"expected 1 to {most} codebooks of {kind}, got {num_codebooks}")
        # Mimi halves the rate of its convolutions once more.
        mimi = kind == "mimi"
        hop_length = config.sampling_rate / config.frame_rate if mimi else config.hop_length
        self.hop_length = round(hop_length)
        self.frame_rate = self.sample_rate / self.hop_length
        self.tokens_per_second = self.frame_rate * self.num_codebooks
        self.name = name or f"{kind}_{self.num_codebooks}"
        self._features = _feature_extractor() if kind == "xcodec2" else None

    @property
    def fingerprint(self) -> str:
        """16 hex digits of kind, codebooks and weights."""
        digest = hashlib.sha256(f"{self.kind} {self.num_codebooks}".encode())
        for key, value in sorted(self._model.state_dict().items()):
            digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @torch.no_grad()
    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Encode a waveform (T,) float in [-1, 1] to codes (K, L) int64."""
        samples = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))
        if samples.ndim != 1 or len(samples) == 0:
            raise ValueError(f"expected a waveform (T,) with T > 0, got {tuple(samples.shape)}")
        codes = _ENCODE[self.kind](self, samples[None, None].to(self._device)).cpu()
        # Residual codebooks come in order, so that the first K are a coarser code.
        return codes.reshape(-1, codes.shape[-1])[: self.num_codebooks].numpy().astype(np.int64)

    @torch.no_grad()
    def decode(self, codes: np.ndarray, num_samples: int) -> np.ndarray:
        """Decode codes (K, L) to a waveform (num_samples,) float32.

        Raises:
            ValueError: Codes of another shape or outside the codebooks.
        """
        codes = np.asarray(codes)
        if codes.ndim != 2 or len(codes) != self.num_codebooks or codes.shape[1] == 0:
            raise ValueError(f"expected codes ({self.num_codebooks}, L), got {codes.shape}")
        if codes.min() < 0 or codes.max() >= self.codebook_size:
            raise ValueError(f"expected codes in [0, {self.codebook_size}), got {codes.max()}")
        rows = torch.from_numpy(codes.astype(np.int64))[None].to(self._device)
        waveform = _DECODE[self.kind](self._model, rows).reshape(-1).cpu()
        return fit_length(waveform.numpy(), num_samples)


def _load(kind: str, source: str) -> Any:
    """Load a model in eval mode.

    Raises:
        ValueError: `transformers` is not installed, or has no such model at the source.
    """
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f"{kind} needs the package transformers: {install_command('transformers')}"
        ) from error
    model_class = getattr(transformers, PEERS[kind].model)
    try:
        return model_class.from_pretrained(source, dtype=torch.float32).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"expected {kind} weights ({PEERS[kind].licence}) at {source!r}: a hub name such as "
            f"{PEERS[kind].weights} or a folder that transformers saved; {message_of(error)}"
        ) from error


def _feature_extractor() -> Any:
    """Make the input features of X-Codec-2's semantic encoder: 80 mel bands, two frames stacked.

    Its own extractor in transformers needs torchaudio; this one, of the model it was derived
    from, computes the same filter banks in numpy.
    """
    from transformers import SeamlessM4TFeatureExtractor

    return SeamlessM4TFeatureExtractor(
        feature_size=80, num_mel_bins=80, sampling_rate=16000, stride=2, padding_value=1.0
    )


def _encode_encodec(peer: TransformersTokenizer, waveform: torch.Tensor) -> torch.Tensor:
    """(1, 1, T) to (K, L) with every codebook of the widest setting."""
    widest = max(peer._model.config.target_bandwidths)
    encoded = peer._model.encode(waveform, bandwidth=widest, return_dict=True)
    return encoded.audio_codes.reshape(-1, encoded.audio_codes.shape[-1])


def _encode_dac(peer: TransformersTokenizer, waveform: torch.Tensor) -> torch.Tensor:
    """(1, 1, T), padded to whole frames, to (1, K, L)."""
    padded = F.pad(waveform, (0, -waveform.shape[-1] % peer.hop_length))
    return peer._model.encode(padded, n_quantizers=peer.num_codebooks).audio_codes


def _encode_mimi(peer: TransformersTokenizer, waveform: torch.Tensor) -> torch.Tensor:
    """(1, 1, T) to (1, K, L)."""
    return peer._model.encode(waveform, num_quantizers=peer.num_codebooks).audio_codes


def _encode_xcodec2(peer: TransformersTokenizer, waveform: torch.Tensor) -> torch.Tensor:
    """(1, 1, T) to (1, 1, L); half a hop of silence at both ends centres the mel frames."""
    assert peer._features is not None
    length = waveform.shape[-1]
    hop = peer.hop_length
    # One sample more, then whole frames: the padding its authors trained with.
    padded = F.pad(waveform, (0, 1 + -(length + 1) % hop))
    centred = F.pad(padded[0, 0], (hop // 2, hop // 2)).cpu().numpy()
    features = peer._features(centred, sampling_rate=peer.sample_rate, return_tensors="pt")
    mel = features["input_features"].to(padded.device)
    return peer._model.encode(input_values=padded, input_features=mel).audio_codes


_ENCODE: dict[str, Callable[[TransformersTokenizer, torch.Tensor], torch.Tensor]] = {
    "encodec": _encode_encodec,
    "dac": _encode_dac,
    "mimi": _encode_mimi,
    "xcodec2": _encode_xcodec2,
}
_DECODE: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    # EnCodec wants chunks first and a scale a chunk, which its 24 kHz model does not use.
    "encodec": lambda model, codes: model.decode(codes[None], [None]).audio_values,
    "dac": lambda model, codes: model.decode(audio_codes=codes).audio_values,
    "mimi": lambda model, codes: model.decode(codes).audio_values,
    "xcodec2": lambda model, codes: model.decode(audio_codes=codes).audio_values,
}
