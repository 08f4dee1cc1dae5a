"""Contestants of the benchmarks: other decoders and ours, with the same weights."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from codec.import_shims import without_einx
from slm.data.vocabulary import Vocabulary
from slm.engines.native_build import is_available
from slm.generation.config import ENGINES, GenerationSettings
from slm.generation.generate import TokenRequest, generate
from slm.model.config import SpeechLMConfig
from slm.model.llama_export import export_llama
from slm.model.speech_lm import SpeechLM
from slm.model.transformer import library_decoder
from slm.training.flops import wait_for_device

from . import llama_cpp

with without_einx():
    from x_transformers import AutoregressiveWrapper, TransformerWrapper

# Llama-like proportions, four query heads a key head. Parameters with 512 pieces and 8192 codes.
SIZES: dict[str, dict[str, Any]] = {
    "1M": {"dim": 64, "num_layers": 2, "num_heads": 4, "dim_head": 16},
    "10M": {"dim": 256, "num_layers": 8, "num_heads": 4, "dim_head": 64},
    "43M": {"dim": 512, "num_layers": 12, "num_heads": 8, "dim_head": 64},
    "125M": {"dim": 896, "num_layers": 12, "num_heads": 16, "dim_head": 64},
    "350M": {"dim": 1280, "num_layers": 19, "num_heads": 20, "dim_head": 64},
}
# Packages that each of the others asks for beyond the core.
_PACKAGES = {"stock": (), "transformers": ("transformers",), "llama_cpp": llama_cpp.PACKAGES}
OTHERS = tuple(_PACKAGES)
_WEIGHTS = ("exact", "bf16", "int8")
_PROMPT_TOKENS = 32
_GREEDY = GenerationSettings(temperature=0)


def clock_name(device: str = "cpu") -> str:
    """Choose "processor" for one thread of a CPU, whose own seconds other work hardly changes."""
    alone = torch.device(device).type == "cpu" and torch.get_num_threads() == 1
    return "processor" if alone else "wall"


def fastest(
    contestants: Mapping[str, Callable[[], object]], rounds: int, clock: str = "wall"
) -> dict[str, float]:
    """Seconds of each one's fastest round, after one that is not counted.

    All take turns in every round, so that a busy machine slows them alike.

    Args:
        contestants: By name.
        rounds: Of which the fastest counts.
        clock: One of `clock_name`: seconds of the wall clock, or of this process's threads.
    """
    now = {"processor": time.process_time, "wall": time.perf_counter}[clock]
    best = dict.fromkeys(contestants, float("inf"))
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            wait_for_device()
            start = now()
            run()
            wait_for_device()
            # The first turn compiles and allocates.
            if turn:
                best[name] = min(best[name], now() - start)
    return best


def engines(device: str = "cpu") -> list[str]:
    """Engines of `slm.generation.config.ENGINES` that a device has, the plainest first."""
    if torch.device(device).type == "cuda":
        return ["torch", "graphs"]
    return ["torch", "native"] if is_available() else ["torch"]


def names(device: str = "cpu") -> list[str]:
    """Contestants that can run here: others, then ENGINE and ENGINE_WEIGHTS of ours."""
    found = [name for name in OTHERS if all(map(importlib.util.find_spec, _PACKAGES[name]))]
    if torch.device(device).type != "cpu" and "llama_cpp" in found:
        found.remove("llama_cpp")  # its wheel runs on the CPU
    own = [(engine, weights) for engine in engines(device) for weights in _WEIGHTS]
    return found + [name if kind == "exact" else f"{name}_{kind}" for name, kind in own]


def random_lm(size: str, seed: int = 0, max_seq_len: int = 4096) -> SpeechLM:
    """An untrained model of one of `SIZES`, in eval mode, with a quarter as many key heads.

    Raises:
        ValueError: A size that is not known.
    """
    if size not in SIZES:
        raise ValueError(f"expected a size of {sorted(SIZES)}, got {size!r}")
    sizes = SIZES[size]
    torch.manual_seed(seed)
    config = SpeechLMConfig(
        vocabulary=Vocabulary(512, 8192).to_dict(),
        codec_fingerprint="bench",
        frame_rate=23.4375,
        num_kv_heads=sizes["num_heads"] // 4,
        max_seq_len=max_seq_len,
        **sizes,
    )
    return SpeechLM(config).eval()


def stock_twin(lm: SpeechLM) -> AutoregressiveWrapper:
    """x-transformers' own model and cached generation with the weights of `lm`."""
    net = TransformerWrapper(
        num_tokens=lm.vocabulary.vocab_size,
        max_seq_len=lm.config.max_seq_len,
        attn_layers=library_decoder(lm.config),
        use_abs_pos_emb=False,
    )
    net.attn_layers.load_state_dict(lm.decoder.state_dict())
    state = net.state_dict()
    state |= {"token_emb.emb.weight": lm.embedding.weight, "to_logits.weight": lm.head.weight}
    net.load_state_dict(state)
    return AutoregressiveWrapper(net).to(lm.head.weight.device).eval()


def transformers_twin(lm: SpeechLM) -> Any:
    """`LlamaForCausalLM` of the installed `transformers` with the weights of `lm`."""
    from transformers import LlamaForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        export_llama(lm, folder)
        model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.to(lm.head.weight.device).eval()


def prompt_tokens(lm: SpeechLM, rows: int) -> Tensor:
    """(rows, 32) int64 code tokens, the same every time."""
    generator = torch.Generator().manual_seed(0)
    start, stop = lm.vocabulary.code_start, lm.vocabulary.vocab_size
    tokens = torch.randint(start, stop, (rows, _PROMPT_TOKENS), generator=generator)
    return tokens.to(lm.head.weight.device)


def contestant(lm: SpeechLM, name: str, rows: int, new_tokens: int) -> Callable[[], object]:
    """A call that continues `rows` prompts of 32 tokens by exactly `new_tokens` each, greedily.

    Args:
        lm: The model.
        name: One of `names`.
        rows: In a batch.
        new_tokens: A row.

    Raises:
        ValueError: A name that is not known.
    """
    prompts = prompt_tokens(lm, rows)
    if name == "stock":
        stock = stock_twin(lm)
        return lambda: stock.generate(prompts, new_tokens, temperature=0.0, cache_kv=True)
    if name == "transformers":
        return _transformers_run(lm, prompts, new_tokens)
    if name == "llama_cpp":
        return llama_cpp.llama_cpp_run(lm, prompts, new_tokens)
    engine, _, weights = name.partition("_")
    if engine not in ENGINES or weights not in ("", *_WEIGHTS):
        raise ValueError(f"expected a contestant of {names()}, got {name!r}")
    settings = replace(_GREEDY, engine=engine, weights=weights or "exact")
    requests = [TokenRequest(prompt, new_tokens, new_tokens) for prompt in prompts]
    return lambda: generate(lm, requests, settings)


def _transformers_run(lm: SpeechLM, prompts: Tensor, new_tokens: int) -> Callable[[], object]:
    model = transformers_twin(lm)
    options = {
        "attention_mask": torch.ones_like(prompts),
        "max_new_tokens": new_tokens,
        "min_new_tokens": new_tokens,
        "do_sample": False,
        "cache_implementation": "static",
        "pad_token_id": lm.vocabulary.pad_id,
    }
    return lambda: model.generate(prompts, **options)
