"""Generation speed beside the stock decoder's own, at the same weights, in one run.

Every figure is the best of a few rounds in which all contestants take turns, so that a busy
machine slows them alike. The ceiling is what reading every weight once a token allows, measured
here as products of a matrix of that size with a vector.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from x_transformers import AutoregressiveWrapper, TransformerWrapper

from .config import GenerationSettings, SpeechLMConfig
from .decoding import FusedDecoder, RowCache, fused_decoder
from .generation import generate
from .model import SpeechLM, new_decoder
from .vocabulary import Vocabulary

# Llama-like proportions, four query heads a key head. Parameters with 512 pieces and 8192 codes.
SIZES: dict[str, dict[str, Any]] = {
    "1M": {"dim": 64, "num_layers": 2, "num_heads": 4, "dim_head": 16},
    "10M": {"dim": 256, "num_layers": 8, "num_heads": 4, "dim_head": 64},
    "43M": {"dim": 512, "num_layers": 12, "num_heads": 8, "dim_head": 64},
}
_PROMPT_TOKENS = 32
_NEAR, _FAR = 100, 2000
_STEPS = 8  # timed together where single steps are
_GREEDY = GenerationSettings(temperature=0)


def bench_generation(
    size: str = "10M", *, new_tokens: int = 32, rounds: int = 3, batch_size: int = 16
) -> dict[str, Any]:
    """Tokens a second of one size, stock and ours, at batch 1 and at `batch_size`.

    Args:
        size: One of `SIZES`.
        new_tokens: Generated a row and round.
        rounds: Of which the fastest counts.
        batch_size: Of the larger batch.

    Returns:
        Tokens a second of each contestant, the ratios to stock, the ceiling and the share of it
        that is reached, and what a step at position 2000 costs over one at 100.

    Raises:
        ValueError: A size that is not known.
    """
    if size not in SIZES:
        raise ValueError(f"expected a size of {sorted(SIZES)}, got {size!r}")
    lm = random_lm(size)
    stock = stock_twin(lm)
    contestants: dict[str, Callable[[], object]] = {}
    for rows, name in ((1, "batch_1"), (batch_size, f"batch_{batch_size}")):
        contestants[f"stock_{name}"] = _stock_run(stock, rows, new_tokens)
        for weights in ("exact", "int8", "bf16") if rows == 1 else ("exact",):
            contestants[f"{weights}_{name}"] = _own_run(lm, rows, new_tokens, weights)
    contestants |= {"ceiling": _streaming(lm)}
    contestants |= _steps_at(lm)
    seconds = _fastest(contestants, rounds)
    return _report(lm, size, seconds, new_tokens, batch_size)


def random_lm(size: str, seed: int = 0) -> SpeechLM:
    """An untrained model of one of `SIZES`, in eval mode, with a quarter as many key heads."""
    sizes = SIZES[size]
    torch.manual_seed(seed)
    config = SpeechLMConfig(
        vocabulary=Vocabulary(512, 8192).to_dict(),
        codec_fingerprint="bench",
        frame_rate=23.4375,
        num_kv_heads=sizes["num_heads"] // 4,
        max_seq_len=_FAR + 48,
        **sizes,
    )
    return SpeechLM(config).eval()


def stock_twin(lm: SpeechLM) -> AutoregressiveWrapper:
    """x-transformers' own model and cached generation with the weights of `lm`."""
    net = TransformerWrapper(
        num_tokens=lm.vocabulary.vocab_size,
        max_seq_len=lm.config.max_seq_len,
        attn_layers=new_decoder(lm.config),
        use_abs_pos_emb=False,
    )
    net.attn_layers.load_state_dict(lm.decoder.state_dict())
    state = net.state_dict()
    state |= {"token_emb.emb.weight": lm.embedding.weight, "to_logits.weight": lm.head.weight}
    net.load_state_dict(state)
    return AutoregressiveWrapper(net).eval()


def prompt_tokens(lm: SpeechLM, rows: int) -> Tensor:
    """(rows, 32) int64 code tokens, the same every time."""
    generator = torch.Generator().manual_seed(0)
    start, stop = lm.vocabulary.code_start, lm.vocabulary.vocab_size
    return torch.randint(start, stop, (rows, _PROMPT_TOKENS), generator=generator)


def _stock_run(stock: AutoregressiveWrapper, rows: int, new_tokens: int) -> Callable[[], object]:
    size = stock.net.num_tokens
    prompts = torch.randint(0, size, (rows, _PROMPT_TOKENS), generator=torch.Generator())
    return lambda: stock.generate(prompts, new_tokens, temperature=0.0, cache_kv=True)


def _own_run(lm: SpeechLM, rows: int, new_tokens: int, weights: str) -> Callable[[], object]:
    prompts = list(prompt_tokens(lm, rows))
    settings = replace(_GREEDY, weights=weights)
    return lambda: generate(
        lm, prompts, settings, max_new_tokens=new_tokens, min_new_tokens=new_tokens
    )


def _steps_at(lm: SpeechLM) -> dict[str, Callable[[], object]]:
    decoder = fused_decoder(lm)
    cache = decoder.new_cache(1, lm.config.max_seq_len)
    token = prompt_tokens(lm, 1)[:, 0]

    def steps(place: int) -> Callable[[], object]:
        return lambda: _walk(decoder, cache, token, place)

    return {"near": steps(_NEAR), "far": steps(_FAR)}


@torch.no_grad()
def _walk(decoder: FusedDecoder, cache: RowCache, token: Tensor, place: int) -> None:
    for step in range(_STEPS):
        decoder.step(token, [place + step], cache)


def _streaming(lm: SpeechLM) -> Callable[[], object]:
    """Read as many bytes as the weights of a step hold: all but embedding and unused head rows."""
    vocabulary, width = lm.vocabulary, lm.config.dim
    unread = vocabulary.vocab_size + vocabulary.code_start - 1
    rows = lm.num_parameters // width - unread
    matrix, vector = torch.randn(rows, width), torch.randn(width)

    def run() -> None:
        for _ in range(_STEPS):
            torch.mv(matrix, vector)

    return run


def _fastest(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each one's fastest round, after one that is not counted."""
    best = dict.fromkeys(contestants, float("inf"))
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def _report(
    lm: SpeechLM, size: str, seconds: dict[str, float], new_tokens: int, batch_size: int
) -> dict[str, Any]:
    large = f"batch_{batch_size}"
    rate = {name: new_tokens / value for name, value in seconds.items() if "_batch_" in name}
    rate = {n: r * (batch_size if n.endswith(large) else 1) for n, r in rate.items()}
    ceiling = _STEPS / seconds["ceiling"]
    step = _STEPS / seconds["near"]
    return {
        "size": size,
        "parameters": lm.num_parameters,
        "threads": torch.get_num_threads(),
        "tokens_per_second": rate,
        "times_stock": {
            "exact_batch_1": rate["exact_batch_1"] / rate["stock_batch_1"],
            "int8_batch_1": rate["int8_batch_1"] / rate["stock_batch_1"],
            "bf16_batch_1": rate["bf16_batch_1"] / rate["stock_batch_1"],
            f"exact_{large}": rate[f"exact_{large}"] / rate[f"stock_{large}"],
        },
        "ceiling_tokens_per_second": ceiling,
        "steps_per_second": step,
        "share_of_ceiling": step / ceiling,
        "step_at_2000_over_100": seconds["far"] / seconds["near"],
    }
