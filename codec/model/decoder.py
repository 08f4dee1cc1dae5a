"""Quantized latents at the code rate to a log-mel at four times that rate."""

from __future__ import annotations

from torch import Tensor, nn

from codec.layers.attention import rotary_blocks
from codec.layers.blocks import (
    AttentionBlock,
    ConvNeXtBlock,
    FrameGroupNorm,
    ResidualConvBlock,
    init_truncated_normal,
)

from .config import CodecConfig
from .voice import FiLM, VoiceCode


class MelDecoder(nn.Module):
    """Convolution, residual and attention blocks, ConvNeXt blocks, a fourfold upsampling.

    The backbone of HH-Codec (https://arxiv.org/abs/2507.18897), itself that of WavTokenizer
    (https://arxiv.org/abs/2408.16532): everything but the last linear map works at the code
    rate. Optional ConvNeXt blocks at the mel rate smooth the seams between codes, and optional
    transformer blocks with rotary positions bind codes over time. With `voice.tokens` the input
    of every ConvNeXt block at the code rate is modulated by the recording's voice, which `voice`
    reads off the encoder's states.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        size, mel = config.decoder, config.mel
        self.embed = nn.Conv1d(config.quantizer.dim, size.dim, 7, padding=3)
        init_truncated_normal(self.embed)
        self.context = nn.Sequential(
            ResidualConvBlock(size.dim, size.dropout),
            ResidualConvBlock(size.dim, size.dropout),
            AttentionBlock(size.dim),
            ResidualConvBlock(size.dim, size.dropout),
            ResidualConvBlock(size.dim, size.dropout),
            FrameGroupNorm(32, size.dim, eps=1e-6),
        )
        self.norm = nn.LayerNorm(size.dim, eps=1e-6)
        self.blocks = nn.Sequential(
            *(
                ConvNeXtBlock(size.dim, size.mlp_ratio * size.dim, 1 / size.num_layers)
                for _ in range(size.num_layers)
            )
        )
        self.attention = rotary_blocks(
            size.dim, size.attention_layers, size.attention_heads, size.attention_window
        )
        self.final_norm = nn.LayerNorm(size.dim, eps=1e-6)
        refines = size.num_refine_layers
        # without refinement the upsampling itself gives the mel
        out_dim = size.refine_dim if refines else mel.n_mels
        self.upsample = nn.ConvTranspose1d(
            size.dim, out_dim, config.upsampling, stride=config.upsampling
        )
        self.refine = nn.Sequential(
            *(ConvNeXtBlock(out_dim, 3 * out_dim, 1 / refines) for _ in range(refines)),
            *([nn.Conv1d(out_dim, mel.n_mels, 1)] if refines else []),
        )
        has_voice = config.voice.tokens > 0
        self.voice = VoiceCode(config.voice, config.encoder.state_dim) if has_voice else None
        self.film = FiLM(config) if has_voice else None

    def forward(
        self, quantized: Tensor, weights: Tensor | None = None, voice: Tensor | None = None
    ) -> Tensor:
        """(B, D, L) to log-mel (B, M, 4L), natural logarithm.

        Args:
            quantized: Vectors of the codes.
            weights: (B, L) in (0, 1], how much each code counts in normalisation and attention;
                None counts all alike.
            voice: (B, E, K) vectors of the voices' tokens; None for a codec without.

        Raises:
            ValueError: A voice for a decoder that has none, or none for one that needs it.
        """
        if (voice is None) != (self.film is None):
            expected = "no voice" if self.film is None else "a voice (B, E, K)"
            raise ValueError(f"expected {expected}, got {'none' if voice is None else 'one'}")
        x = self.embed(quantized)  # (B, C, L)
        for block in self.context:
            x = block(x, weights)
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        # Depth is at the code rate, where a frame is cheapest.
        if self.film is None or voice is None:
            x = self.blocks(x)
        else:
            for block, (scale, shift) in zip(self.blocks, self.film(voice), strict=True):
                x = block(x * (1 + scale) + shift)
        x = self.attention(x)
        x = self.final_norm(x.transpose(1, 2)).transpose(1, 2)
        return self.refine(self.upsample(x))  # (B, C, L) to (B, M, 4L)
