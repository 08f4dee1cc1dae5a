"""Speech language model: a Llama-like decoder-only transformer over text and code tokens."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from slm.data.vocabulary import Vocabulary

from .attention import AttentionContext, cached_mask
from .code_embeddings import add_code_tables
from .config import SpeechLMConfig
from .kv_cache import KVCache
from .loss import mean_nll, token_nll
from .model_folder import BUNDLED, pretrained_folder
from .packed_attention import packed_attention
from .stored import StoredLM
from .transformer import Branch, Transformer

__all__ = ["BUNDLED", "SpeechLM", "pretrained_folder"]

_INIT_STD = 0.02


class SpeechLM(StoredLM):
    """Next-token logits over `Vocabulary` for rows of packed or single documents.

    Pre-norm decoder with rotary positions, RMSNorm, SwiGLU and an untied head. With a code table
    the codes' rows of embedding and head are made from the codec's vectors.

    Args:
        config: Sizes, vocabulary and the codec it belongs to.

    Attributes:
        attention_kernel: For packed rows, one of `slm.model.packed_attention.KERNELS`.
        compiled: Compiled form of the blocks, used in training mode; None without.
    """

    attention_kernel: str = "auto"
    compiled: Callable[..., Tensor] | None = None

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = Vocabulary.from_dict(config.vocabulary)
        self.embedding = nn.Embedding(self.vocabulary.vocab_size, config.dim)
        self.embedding_dropout = nn.Dropout(config.dropout)
        self.decoder = Transformer(config)
        self.head = nn.Linear(config.dim, self.vocabulary.vocab_size, bias=False)
        self._initialise()
        if config.code_table:
            sizes = self.vocabulary.codebook_size, config.codebook_dim
            options = {"hidden": config.code_table, "std": _INIT_STD}
            add_code_tables(self.embedding, self.head, codebook=sizes, **options)

    def forward(
        self, tokens: Tensor, positions: Tensor | None = None, document_ids: Tensor | None = None
    ) -> Tensor:
        """Logits (B, S, V) of the token after each token; padding on the right changes none.

        Args:
            tokens: (B, S) int64.
            positions: (B, S) int64, of each token within its document; 0 .. S - 1 when None.
            document_ids: (B, S) int64; tokens attend within their document only. One document a
                row when None.
        """
        return self.head(self.hidden(tokens, positions, document_ids))

    def hidden(
        self, tokens: Tensor, positions: Tensor | None = None, document_ids: Tensor | None = None
    ) -> Tensor:
        """Final hidden states (B, S, D); arguments as in `forward`."""
        if positions is None:
            # One document a row: positions from 0.
            positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        # Compiled code is made for training's shapes alone.
        run = self.compiled if self.compiled is not None and self.training else None
        packed = None
        if document_ids is not None:
            fixed = run is not None
            packed = packed_attention(document_ids, self.attention_kernel, fixed_shapes=fixed)
        return (run or self._decode)(tokens, positions, AttentionContext(packed=packed))

    def compile_training(self, backend: str = "inductor") -> None:
        """Compile the blocks for training, once for each (B, S) whatever documents rows hold."""
        self.compiled = torch.compile(self._decode, dynamic=False, backend=backend)

    def step(self, tokens: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        """Final hidden states (B, S, D) of new tokens, which join those that `cache` holds.

        Args:
            tokens: (B, S) int64, one or more new tokens a row.
            positions: (B, S) int64, of each in its row; rows may differ.
            cache: Of batch size B.
        """
        cache.at(positions)
        # (B, 1, S, keys): a row sees its own keys up to each token's position.
        mask = cached_mask(positions, cache.num_keys)
        return self._decode(tokens, positions, AttentionContext(mask=mask, cache=cache))

    def new_cache(self, batch_size: int, max_len: int) -> KVCache:
        """An empty cache for `batch_size` rows of up to `max_len` tokens."""
        config, weight = self.config, self.head.weight
        return KVCache(
            config.num_layers,
            batch_size,
            config.kv_heads,
            max_len=max_len,
            dim_head=config.dim_head,
            dtype=weight.dtype,
            device=weight.device,
        )

    def token_nll(
        self,
        tokens: Tensor,
        selected: Tensor,
        *,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
    ) -> Tensor:
        """Negative log-likelihood of the selected tokens given what comes before them.

        (N,) float32 nats, in row-major order of `selected`, whatever the autocast. Arguments are as
        in `forward`, and `selected` (B, S) bool, without the first token of any document, which
        nothing in its own document predicts.
        """
        # The state after token i predicts token i + 1.
        hidden = self.hidden(tokens, positions, document_ids)[:, :-1]
        index = _indices(selected[:, 1:])
        return token_nll(hidden[index], self.head.weight, tokens[:, 1:][index])

    def loss(
        self,
        tokens: Tensor,
        loss_weights: Tensor,
        *,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
        total_weight: Tensor | None = None,
    ) -> Tensor:
        """Weighted mean negative log-likelihood, nats a token, float32 scalar.

        Args:
            tokens: (B, S) int64.
            loss_weights: (B, S) float, weight of predicting each token; 0 leaves it out.
            positions: As in `forward`.
            document_ids: As in `forward`.
            total_weight: Divisor of the weighted sum, where these rows are part of a larger
                batch; the sum of their own weights when None.
        """
        hidden = self.hidden(tokens, positions, document_ids)[:, :-1]
        # The state after token i predicts token i + 1; its weight is that of the predicted token.
        weights, targets = loss_weights[:, 1:].float(), tokens[:, 1:]
        # Only rows of the head's product that count are computed: prompts and padding are most.
        index = _indices(weights > 0)
        weights = weights[index]
        total = weights.sum() if total_weight is None else total_weight
        scales = weights / total.clamp(min=1e-9)
        return mean_nll(hidden[index], self.head.weight, targets[index], scales)

    def generate(self, prompts: Any, settings: Any = None, **options: Any) -> list[Any]:
        """Generate the codes that follow on tokens; see `slm.generation.generate.generate_from`.

        Args:
            prompts: Tokens (S,), rows of them, or requests.
            settings: `GenerationSettings`.
            options: `max_new_tokens`, `seed`, `rules`, `max_rows` and `on_progress`.

        Returns:
            One `slm.generation.session.Generation` a row, in order.
        """
        # Of a room that imports this one, and therefore loaded when it is called for.
        generating = importlib.import_module("slm.generation.generate")
        return generating.generate_from(self, prompts, settings, **options)

    @property
    def num_parameters(self) -> int:
        """All trained parameters, embeddings included."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def blocks(self) -> list[Branch]:
        """Attention and feed-forward branches in their order."""
        return self.decoder.branches

    def recompute_activations(self, wanted: bool = True) -> None:
        """Switch activation checkpointing on or off, see `slm.model.transformer.Branch`."""
        for block in self.blocks:
            block.recompute = wanted

    def _decode(self, tokens: Tensor, positions: Tensor, context: AttentionContext) -> Tensor:
        embedded = self.embedding_dropout(self.embedding(tokens))
        if self.training and self.config.code_dropout:
            # Codes whose embedding is masked; their targets stay.
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.config.code_dropout
            dropped &= tokens >= self.vocabulary.code_start
            embedded = embedded.masked_fill(dropped[..., None], 0.0)
        return self.decoder(embedded, positions, context)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Normal 0.02 everywhere, branch outputs scaled down by the number of branches."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_INIT_STD)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)
        # As in GPT-2: the variance of the residual stream stays that of one branch.
        scale = (2 * self.config.num_layers) ** -0.5
        for block in self.blocks:
            # The branch's last linear layer writes to the residual stream.
            output = [part for part in block.modules() if isinstance(part, nn.Linear)][-1]
            output.weight.mul_(scale)


def _indices(selected: Tensor) -> tuple[Tensor, ...]:
    """Rows and columns of (B, S) bool; the host waits here once, and not at every use of a mask."""
    return selected.nonzero(as_tuple=True)
