"""How strongly every loss term pulls: norms of its gradient at the seams between the parts."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.distributed import norms_over_batch

from .adversarial import Verdict
from .forward import Generated


def gradient_balance(
    made: Generated,
    terms: dict[str, Tensor],
    weights: dict[str, float],
    verdict: Verdict | None = None,
) -> dict[str, float]:
    """Norms of the weighted terms' gradients; costs a backward pass a term.

    Args:
        made: the generator's pass that the terms were computed from; its graph is kept.
        terms: unweighted terms by name, those of the discriminators left out.
        weights: of all terms by name.
        verdict: of the discriminators on `made.waveform`.

    Returns:
        "<seam>.<term>", the 2-norm over the whole batch (all processes' rows), for the seams
        "latents" (the encoder's output), "mel" (the decoder's) and "waveform" (the vocoder's); 0
        where a term has no part in a seam.
    """
    points = {"latents": made.latents, "mel": made.mel, "waveform": made.waveform}
    seams = {seam: p for seam, p in points.items() if p is not None and p.requires_grad}
    sources: dict[str, tuple[Tensor, Tensor | None]] = {
        name: (weights[name] * term, None) for name, term in terms.items() if term.requires_grad
    }
    if verdict is not None and made.waveform is not None and made.waveform.requires_grad:
        for name in verdict.terms:
            sources[name] = (made.waveform, verdict.gradient({name: weights[name]}))
    figures = {}
    for name, (output, gradient) in sources.items():
        gradients = torch.autograd.grad(
            output, list(seams.values()), gradient, retain_graph=True, allow_unused=True
        )
        for seam, found in zip(seams, gradients, strict=True):
            figures[f"{seam}.{name}"] = 0.0 if found is None else float(found.float().norm())
    return norms_over_batch(figures, made.target.device)
