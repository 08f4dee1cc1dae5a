"""The network of UTMOS22, strong learner without phoneme encoder, for weights as in SpeechMOS.

Paper: https://arxiv.org/abs/2204.02152. The layout of the weight file was read in
https://github.com/tarepan/SpeechMOS (MIT), release 1.0.0; the wav2vec 2.0 is that of transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

# Names in the published file and what transformers calls the same weights.
_RENAMED = (
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (
        r"feature_extractor\.conv_layers\.(\d+)\.2\.",
        r"feature_extractor.conv_layers.\1.layer_norm.",
    ),
    (r"post_extract_proj\.", "feature_projection.projection."),
    (r"layer_norm\.", "feature_projection.layer_norm."),
    (
        r"encoder\.pos_conv\.0\.weight_g",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    ),
    (
        r"encoder\.pos_conv\.0\.weight_v",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    ),
    (r"encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (r"encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
)


class UtmosNetwork(nn.Module):
    """Waveform to MOS: wav2vec 2.0, one domain and one judge, a BLSTM, mean over frames.

    Args:
        config: Sizes of the wav2vec 2.0; None for the published base model.
        context_dim: Width of the domain's and of the judge's vector.
        lstm_dim: Width of each direction of the BLSTM.
        hidden_dim: Width of the layer before the score.
    """

    def __init__(
        self,
        config: Wav2Vec2Config | None = None,
        *,
        context_dim: int = 128,
        lstm_dim: int = 512,
        hidden_dim: int = 2048,
    ) -> None:
        super().__init__()
        # Masks are a matter of training; without them transformers keeps no vector for them.
        config = config or Wav2Vec2Config(mask_time_prob=0.0, mask_feature_prob=0.0)
        self.wav2vec2 = Wav2Vec2Model(config)
        self.domain_emb = nn.Parameter(torch.zeros(1, context_dim))
        self.judge_emb = nn.Parameter(torch.zeros(1, context_dim))
        width = config.hidden_size + 2 * context_dim
        self.blstm = nn.LSTM(width, lstm_dim, batch_first=True, bidirectional=True)
        self.projection = nn.Sequential(
            nn.Linear(2 * lstm_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 1)
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform (B, T) at 16 kHz to MOS (B,), from about 1 to 5."""
        frames = self.wav2vec2(waveform).last_hidden_state  # (B, L, D)
        context = torch.cat((self.domain_emb, self.judge_emb), dim=1)
        context = context.expand(*frames.shape[:2], -1)  # the same at every frame
        hidden, _ = self.blstm(torch.cat((frames, context), dim=2))
        # The network was trained on MOS mapped from 1 .. 5 to -1 .. 1.
        return 2.0 * self.projection(hidden).mean(dim=(1, 2)) + 3.0

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load a state dict in the published layout.

        Raises:
            ValueError: A weight is missing, unknown or of another shape.
        """
        renamed = {published_to_ours(name): weight for name, weight in state.items()}
        renamed.pop("wav2vec2.mask_emb", None)
        own = self.state_dict()
        # Names of one side alone, then shapes.
        wrong = sorted(own.keys() ^ renamed.keys())
        wrong += [
            f"{name} {tuple(renamed[name].shape)} for {tuple(own[name].shape)}"
            for name in own.keys() & renamed.keys()
            if own[name].shape != renamed[name].shape
        ]
        if wrong:
            raise ValueError(f"expected the weights of UTMOS22 strong, got others: {wrong[:5]}")
        self.load_state_dict(renamed)


def published_to_ours(name: str) -> str:
    """Translate the name of a weight from the published file to this network."""
    head, _, rest = name.partition(".")
    if head != "wav2vec2":
        return name
    for pattern, ours in _RENAMED:
        if re.match(pattern, rest):
            return f"wav2vec2.{re.sub(f'^{pattern}', ours, rest)}"
    return name
