"""Embeddings of codes as a learnt function of the codec's vectors, for models of little speech.

A codebook of thousands of entries leaves a small corpus a dozen occurrences of each. Here the rows
of the codes in an embedding or a head are made from the codec's vectors by a small network, so
that what is learnt of a code holds for similar ones; a few numbers of its own let a code differ.
It is half the parameters of an untied model of 8192 codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

_OWN = 16  # numbers a code has for itself
_OWN_SHARE = 0.1  # of the standard deviation at the start
_SPREAD = 1.5  # of the hidden units' inputs at the start, so that they differ between codes


class CodeTable(nn.Module):
    """Weight (V, D) of an embedding or a head from its first rows and the codes' vectors.

    To be registered as the parametrization of that weight; until `set_codebook` every vector is 0.

    Args:
        codebook_size: Codes, the last rows of the weight.
        codebook_dim: Numbers in a code's vector.
        dim: D.
        hidden: Units of the network.
        std: Of the rows at the start.
    """

    features: Tensor

    def __init__(
        self, codebook_size: int, codebook_dim: int, dim: int, *, hidden: int, std: float
    ) -> None:
        super().__init__()
        width = codebook_dim + 1
        self.register_buffer("features", torch.zeros(codebook_size, width))
        self.skip = nn.Linear(width, dim, bias=False)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, dim, bias=False)
        self.own = nn.Parameter(torch.randn(codebook_size, _OWN))
        self.mix = nn.Linear(_OWN, dim, bias=False)
        nn.init.normal_(self.skip.weight, std=std * width**-0.5)
        nn.init.normal_(self.up.weight, std=_SPREAD * width**-0.5)
        nn.init.uniform_(self.up.bias, -_SPREAD, _SPREAD)
        nn.init.normal_(self.down.weight, std=std * hidden**-0.5)
        nn.init.normal_(self.mix.weight, std=_OWN_SHARE * std * _OWN**-0.5)

    @torch.no_grad()
    def set_codebook(self, codebook: Tensor) -> None:
        """Set the codec's vectors (C, D'), and their squared norms, each feature standardised.

        Raises:
            ValueError: Another number of codes or of features.
        """
        expected = (self.features.shape[0], self.features.shape[1] - 1)
        if tuple(codebook.shape) != expected:
            raise ValueError(f"expected a codebook {expected}, got {tuple(codebook.shape)}")
        self.features.copy_(standardised(codebook))

    def forward(self, rows: Tensor) -> Tensor:
        """The whole weight (V, D): the given rows (V - C, D), then those of the codes."""
        # A linear map of the vectors, what a small network adds, and a little of each code's own.
        codes = self.skip(self.features) + self.down(F.silu(self.up(self.features)))
        return torch.cat([rows, (codes + self.mix(self.own)).to(rows.dtype)])

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The rows of a whole weight before the codes, which are all that is kept of it."""
        return weight[: len(weight) - len(self.features)].clone()


def standardised(codebook: Tensor) -> Tensor:
    """Vectors (C, D) and their squared norms as features (C, D + 1) of mean 0 and variance 1.

    With the norm among them a linear head can express a normal distribution around a point.
    """
    codebook = codebook.detach().float().cpu()
    features = torch.cat([codebook, codebook.square().sum(1, keepdim=True)], dim=1)
    return (features - features.mean(0)) / features.std(0).clamp(min=1e-6)


def add_code_tables(
    embedding: nn.Module, head: nn.Module, *, codebook: tuple[int, int], hidden: int, std: float
) -> None:
    """Make the codes' rows of the `weight` (V, D) of both modules those of a `CodeTable` each.

    Args:
        embedding: Of the tokens.
        head: Of the logits.
        codebook: Codes, and numbers in the vector of each.
        hidden: Units of each network.
        std: Of the rows at the start.
    """
    for module in (embedding, head):
        dim = module.weight.shape[1]  # type: ignore[union-attr,index]
        table = CodeTable(*codebook, dim, hidden=hidden, std=std)  # type: ignore[arg-type]
        # Unsafe, since what the parametrization keeps has fewer rows than the weight.
        parametrize.register_parametrization(module, "weight", table, unsafe=True)


def code_tables(lm: nn.Module) -> list[CodeTable]:
    """The tables of a model, none where its weights are plain."""
    return [module for module in lm.modules() if isinstance(module, CodeTable)]


def plain_weight(module: nn.Module) -> Tensor:
    """The trained tensor behind a module's weight: its rows before the codes, or the weight."""
    if parametrize.is_parametrized(module, "weight"):
        return module.parametrizations.weight.original  # type: ignore[union-attr,return-value]
    return module.weight  # type: ignore[return-value]


def fold_code_tables(*modules: nn.Module) -> None:
    """Replace the tables by the weights they make: the same model, made once instead of often."""
    for module in modules:
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
