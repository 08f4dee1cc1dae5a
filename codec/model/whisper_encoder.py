"""Whisper's audio encoder, and a fixed map from the codec's log-mels to its input.

Whisper (https://arxiv.org/abs/2212.04356) is trained to transcribe, so the states of its encoder
hold what tells words apart. Frozen, they serve twice: as a further input of the codec's encoder,
and as the space in which decoded and recorded speech are compared, by
`codec.distillation.perceptual`. The map works on log-mels, so that no vocoder has to run and
gradients reach the mel decoder directly.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from .config import WHISPER_MEL, MelConfig

NUM_BANDS = 80
INPUT_RATE = 100  # frames of Whisper's input a second; its states come at half that
MAX_STATES = 1500  # of one pass: the 30 s that Whisper is trained on
MARGIN = 50  # states of context on both sides of a window of longer audio

# Offset of every band, log10 of power: what the triangle areas, windows and transform lengths of
# the two front ends leave between them. Median over 48 clips of nine seconds at most by 43 speakers
# (recorded English, German and Dutch, and synthetic English), of frames within 40 dB of the peak.
# fmt: off
_OFFSETS = (
    -1.708, -1.368, -1.557, -1.892, -1.803, -1.735, -1.839, -1.868, -1.931, -2.152,
    -2.048, -2.205, -2.256, -2.312, -2.370, -2.363, -2.357, -2.363, -2.366, -2.408,
    -2.477, -2.507, -2.473, -2.531, -2.541, -2.609, -2.641, -2.671, -2.666, -2.685,
    -2.709, -2.758, -2.841, -2.737, -2.822, -2.867, -2.808, -2.892, -2.891, -2.940,
    -2.921, -2.986, -3.005, -3.026, -3.033, -3.056, -3.103, -3.120, -3.156, -3.183,
    -3.206, -3.241, -3.259, -3.265, -3.297, -3.316, -3.351, -3.407, -3.421, -3.459,
    -3.479, -3.486, -3.507, -3.559, -3.589, -3.621, -3.664, -3.683, -3.707, -3.751,
    -3.789, -3.831, -3.845, -3.877, -3.902, -3.937, -3.965, -4.001, -4.025, -4.302,
)
# fmt: on


class WhisperInput(nn.Module):
    """The codec's log-mels to Whisper's input features, differentiably.

    Bands: the logarithm of power is interpolated linearly between the centres of the codec's bands
    and shifted by one offset a band. Time: interpolated linearly to 100 Hz. On 40 clips the states
    that Whisper tiny.en makes of mapped mels are at 0.15 from those of its own front end
    (`state_distance`), where those of two different clips are at 1.

    Args:
        mel: Convention of the log-mels; the offsets hold for 100 HTK bands from transforms of 1024
            samples at 24 kHz.

    Raises:
        ValueError: Another convention.
    """

    bands: Tensor
    offsets: Tensor

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        got = (mel.sample_rate, mel.n_fft, mel.n_mels, mel.filters)
        if got != WHISPER_MEL:
            raise ValueError(
                f"expected log-mels of {WHISPER_MEL} (sample rate, n_fft, n_mels, filters) for a "
                f"Whisper encoder, got {got}"
            )
        self.frame_rate = mel.sample_rate / mel.hop_length
        self.first_frame = 0.5 if mel.padding == "same" else 0.0  # its centre, in frames
        bands = _interpolation(mel.n_mels, mel.sample_rate / 2)
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer(
            "offsets", torch.tensor(_OFFSETS, dtype=torch.float32)[:, None], persistent=False
        )

    def forward(
        self, log_mel: Tensor, peak: Tensor | None = None, count: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map log-mels to Whisper's input.

        Args:
            log_mel: (B, M, F), natural logarithm of magnitudes.
            peak: (B, 1, 1) log10 of the power that values are clamped to 80 dB below; None for the
                maximum of each row. A decoded mel is given that of its recording.
            count: N where it is known; None works it out.

        Returns:
            Features (B, 80, N) float32, N the even number of frames of 10 ms within the clip, and
            the peak, without gradient.
        """
        with torch.autocast(log_mel.device.type, enabled=False):
            # nats of magnitude to log10 of power: a factor of 2 / ln 10
            powers = self.bands @ log_mel.float() * (2 / math.log(10)) + self.offsets
            powers = self._at_input_rate(powers, count)
            if peak is None:
                peak = powers.amax((1, 2), keepdim=True).detach()
            return (torch.maximum(powers, peak - 8) + 4) / 4, peak

    def _at_input_rate(self, powers: Tensor, count: int | None) -> Tensor:
        """(B, 80, F) to (B, 80, N), values at the centres of frames of 10 ms."""
        frames = powers.shape[-1]
        if count is None:
            count = max(2, int(frames * INPUT_RATE / self.frame_rate) // 2 * 2)
        times = (torch.arange(count, dtype=torch.float32, device=powers.device) + 0.5) / INPUT_RATE
        places = (times * self.frame_rate - self.first_frame).clamp(0, frames - 1)
        low = places.floor().long().clamp(max=max(0, frames - 2))
        high = (low + 1).clamp(max=frames - 1)
        return torch.lerp(powers[..., low], powers[..., high], places - low)


def _interpolation(num_mels: int, highest: float) -> Tensor:
    """(80, M) weights that read the codec's HTK bands off at the centres of Whisper's bands."""
    htk_top = 2595 * math.log10(1 + highest / 700)
    slaney_top = 15 + 27 / math.log(6.4) * math.log(8.0)  # of 8 kHz
    weights = torch.zeros(NUM_BANDS, num_mels, dtype=torch.float32)
    for band in range(NUM_BANDS):
        mel = (band + 1) * slaney_top / (NUM_BANDS + 1)
        # Slaney's scale is linear up to 1 kHz (15 mels), logarithmic above
        hz = mel * 1000 / 15 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)
        place = 2595 * math.log10(1 + hz / 700) / htk_top * (num_mels + 1) - 1
        low = min(num_mels - 2, max(0, math.floor(place)))
        share = min(1.0, max(0.0, place - low))
        weights[band, low], weights[band, low + 1] = 1 - share, share
    return weights


class _SelfAttention(nn.Module):
    """Multi-head attention over all states; names as in the published weights."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        query, key, value = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, N, D / H)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        if query.requires_grad and query.device.type == "cpu":
            # On a CPU the backward pass of the fused attention takes four times as long in bf16.
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5  # (B, H, N, N)
            attended = torch.softmax(scores, dim=-1) @ value
        else:
            attended = F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    """Pre-norm transformer layer of four times the width inside."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.self_attn = _SelfAttention(dim, num_heads)
        self.final_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class WhisperEncoder(nn.Module):
    """The encoder of Whisper, for input of any length; it never trains.

    Audio beyond 30 s is computed in windows with a second of context on either side.

    Args:
        dim: Width; 384 for tiny, 512 for base.
        num_layers: 4 for tiny, 6 for base.
        num_heads: 6 for tiny, 8 for base.
    """

    positions: Tensor

    def __init__(self, dim: int = 384, num_layers: int = 4, num_heads: int = 6) -> None:
        super().__init__()
        self.dim = dim
        self.conv1 = nn.Conv1d(NUM_BANDS, dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(_Layer(dim, num_heads) for _ in range(num_layers))
        self.layer_norm = nn.LayerNorm(dim)
        self.register_buffer("positions", _sinusoids(MAX_STATES, dim), persistent=False)
        self.requires_grad_(False)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> WhisperEncoder:
        """Load the encoder of a Whisper in the transformers layout, in fp32.

        Args:
            folder: With config.json and model.safetensors.

        Raises:
            ValueError: No Whisper there, or weights that do not fit its config.
        """
        folder = Path(folder)
        settings, weights = folder / "config.json", folder / "model.safetensors"
        for path in (settings, weights):
            if not path.is_file():
                raise ValueError(
                    f"{folder}: expected a Whisper in the transformers layout, got no {path.name}"
                )
        config = json.loads(settings.read_text("utf-8"))
        kind, bands = config.get("model_type"), config.get("num_mel_bins")
        if kind != "whisper" or bands != NUM_BANDS:
            raise ValueError(
                f"{settings}: expected model_type whisper with {NUM_BANDS} bands, got {kind} with "
                f"{bands}"
            )
        encoder = cls(
            config["d_model"], config["encoder_layers"], config["encoder_attention_heads"]
        )
        wanted = set(encoder.state_dict())
        state = {}
        with safe_open(weights, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                own = name.removeprefix("model.").removeprefix("encoder.")
                if own in wanted and "decoder" not in name:
                    state[own] = file.get_tensor(name).float()
        missing = sorted(wanted - set(state))
        if missing:
            raise ValueError(f"{weights}: expected a Whisper encoder, got none of {missing[:3]}")
        encoder.load_state_dict(state)
        return encoder.eval()

    def forward(self, features: Tensor) -> list[Tensor]:
        """Features (B, 80, N) to the states (B, N / 2, D) after every layer, the last normalised.

        States come at 50 Hz; N is even.
        """
        embedded = self.embed(features)
        count = embedded.shape[1]
        if count <= MAX_STATES:
            return self.encode(embedded)
        step = MAX_STATES - 2 * MARGIN
        windows = []
        for start in range(0, count, step):
            first = max(0, start - MARGIN)
            states = self.encode(embedded[:, first : start + step + MARGIN])
            windows.append([state[:, start - first :][:, :step] for state in states])
        return [torch.cat(parts, dim=1) for parts in zip(*windows, strict=True)]

    def embed(self, features: Tensor) -> Tensor:
        """Features (B, 80, N) to what the transformer takes without positions, (B, N / 2, D)."""
        return F.gelu(self.conv2(F.gelu(self.conv1(features)))).transpose(1, 2)

    def encode(self, embedded: Tensor) -> list[Tensor]:
        """(B, N, D), N <= 1500, to the states of one pass after every layer."""
        x = embedded + self.positions[: embedded.shape[1]]
        states = []
        for layer in self.layers:
            x = layer(x)
            states.append(x)
        states[-1] = self.layer_norm(states[-1])
        return states


def _sinusoids(length: int, dim: int) -> Tensor:
    """(length, D) positions of Whisper: sines beside cosines, wavelengths up to 10,000."""
    rates = torch.exp(
        -math.log(10_000) / (dim // 2 - 1) * torch.arange(dim // 2, dtype=torch.float32)
    )
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
