"""Initialisation of the codes of a language model from the codec's codebook.

After a random one the model must learn from token statistics alone which of thousands of codes are
neighbours, and hours of speech hold each code a few dozen times. The codec's vectors of similar
sounds are near each other already.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .code_embeddings import code_tables, standardised
from .speech_lm import SpeechLM

_STD = 0.02  # of the model's own initialisation
_OWN_SHARE = 0.1  # of a code's start that is its own, so that no two codes start equal


@torch.no_grad()
def init_codes_from_codebook(lm: SpeechLM, codebook: Tensor, seed: int = 0) -> None:
    """Set the embeddings and head rows of the codes from the codec's codebook, in place.

    Every code becomes a fixed random projection of its vector and of the vector's squared norm,
    scaled as the model's own initialisation. With the norm among the features the head can express
    a normal distribution around a point of the codec's latent space. Where the model has code
    tables, they get the vectors instead.

    Args:
        lm: Its text pieces and specials stay as they are.
        codebook: (C, D') float, one vector a code of the vocabulary.
        seed: Of the projections.

    Raises:
        ValueError: The codebook has another number of codes than the vocabulary, or is not finite.
    """
    vocabulary = lm.vocabulary
    if codebook.ndim != 2 or len(codebook) != vocabulary.codebook_size:
        raise ValueError(
            f"expected a codebook ({vocabulary.codebook_size}, D), got {tuple(codebook.shape)}"
        )
    if not torch.isfinite(codebook).all():
        raise ValueError("expected a finite codebook, got NaN or infinity in it")
    for table in code_tables(lm):
        table.set_codebook(codebook)
    if code_tables(lm):
        return
    # One random projection for all codes: near vectors give near rows.
    features = standardised(codebook)
    generator = torch.Generator().manual_seed(seed)
    rows = slice(vocabulary.code_start, vocabulary.code_start + vocabulary.codebook_size)
    for weight in (lm.embedding.weight, lm.head.weight):
        shape = (features.shape[1], weight.shape[1])
        projection = torch.randn(shape, generator=generator) * features.shape[1] ** -0.5
        own = torch.randn(len(features), weight.shape[1], generator=generator)
        # Shares of the variance: what similar codes have in common, and what is a code's own.
        start = (1 - _OWN_SHARE**2) ** 0.5 * features @ projection + _OWN_SHARE * own
        weight[rows] = (_STD * start).to(weight)
