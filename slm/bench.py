"""What generation is timed against: the stock library's, `transformers`' and ours, same weights."""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from x_transformers import AutoregressiveWrapper, TransformerWrapper

from .config import GenerationSettings, SpeechLMConfig
from .generation import generate
from .llama import export_llama
from .model import SpeechLM, new_decoder
from .vocabulary import Vocabulary

# Llama-like proportions, four query heads a key head. Parameters with 512 pieces and 8192 codes.
SIZES: dict[str, dict[str, Any]] = {
    "1M": {"dim": 64, "num_layers": 2, "num_heads": 4, "dim_head": 16},
    "10M": {"dim": 256, "num_layers": 8, "num_heads": 4, "dim_head": 64},
    "43M": {"dim": 512, "num_layers": 12, "num_heads": 8, "dim_head": 64},
}
OTHERS = ("stock", "transformers")
_OWN = {
    "exact": {},
    "compiled": {"compile": True},
    "int8": {"weights": "int8"},
    "bf16": {"weights": "bf16"},
    "compiled_int8": {"weights": "int8", "compile": True},
    "compiled_bf16": {"weights": "bf16", "compile": True},
}
_PROMPT_TOKENS = 32
_GREEDY = GenerationSettings(temperature=0)


def names(compiled: bool = True) -> list[str]:
    """Contestants that can run here.

    Args:
        compiled: Whether to name those whose steps are compiled.
    """
    found = [name for name in OTHERS if name == "stock" or importlib.util.find_spec(name)]
    return found + [name for name in _OWN if compiled or not name.startswith("compiled")]


def random_lm(size: str, seed: int = 0, max_seq_len: int = 2048) -> SpeechLM:
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
        attn_layers=new_decoder(lm.config),
        use_abs_pos_emb=False,
    )
    net.attn_layers.load_state_dict(lm.decoder.state_dict())
    state = net.state_dict()
    state |= {"token_emb.emb.weight": lm.embedding.weight, "to_logits.weight": lm.head.weight}
    net.load_state_dict(state)
    return AutoregressiveWrapper(net).eval()


def transformers_twin(lm: SpeechLM) -> Any:
    """`LlamaForCausalLM` of the installed `transformers` with the weights of `lm`."""
    from transformers import LlamaForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        export_llama(lm, folder)
        return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def prompt_tokens(lm: SpeechLM, rows: int) -> Tensor:
    """(rows, 32) int64 code tokens, the same every time."""
    generator = torch.Generator().manual_seed(0)
    start, stop = lm.vocabulary.code_start, lm.vocabulary.vocab_size
    return torch.randint(start, stop, (rows, _PROMPT_TOKENS), generator=generator)


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
    if name not in _OWN:
        raise ValueError(f"expected a contestant of {names()}, got {name!r}")
    settings = replace(_GREEDY, **_OWN[name])
    return lambda: generate(
        lm, list(prompts), settings, max_new_tokens=new_tokens, min_new_tokens=new_tokens
    )


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
