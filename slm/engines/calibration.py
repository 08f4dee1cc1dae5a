"""The faster of the engines of a CPU, for a size of model, a number of rows and a machine.

Compiled steps read each weight once and are the fastest for few rows; for many, on some
processors, the matrix products of torch's libraries are. So both are timed on a small model of the
same widths, once, and what was found is kept in the folder of the compiled library.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from codec.cache_folder import cache_folder
from codec.files import read_json, write_json
from codec.provenance import cpu_model
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM

from .merged import MergedDecoder, MergedEngine
from .merged_weights import speech_outputs
from .native import NativeDecoder, NativeEngine
from .native_build import build_digest

# The results of a row of compiled steps do not depend on its batch: torch has to be faster by more
# than the fastest of some steps is off.
_MARGIN = 1.03
_STEPS, _ROUNDS, _MOST_ROWS = 3, 4, 64
# What keeps it all below a second: time after which no round is begun, weights of the small
# model's layers, and tokens that its rows begin with.
_SECONDS, _LAYERS, _MOST_WEIGHTS, _PROMPT_TOKENS = 0.3, 4, 8_000_000, 64
_WIDTHS = ("dim", "num_heads", "kv_heads", "dim_head", "ff_dim", "qk_norm", "norm_eps")

_LOGGER = logging.getLogger(__name__)

# Seconds a step of each engine for a model, rows and weights.
Timer = Callable[[SpeechLM, int, str], dict[str, float]]


def faster_engine(
    config: SpeechLMConfig, rows: int, weights: str, timed: Timer | None = None
) -> str:
    """Name the faster of "native" and "torch"; they are timed unless that has been done.

    Args:
        config: Of the model.
        rows: Most rows at a time; powers of two up to 64 are told apart.
        weights: "exact", "bf16" or "int8".
        timed: Times the engines; None for `seconds_a_step`.
    """
    rows = min(1 << (max(1, rows) - 1).bit_length(), _MOST_ROWS)
    about = {name: getattr(config, name) for name in _WIDTHS}
    codes = config.vocabulary["codebook_size"]
    about |= {"num_layers": _few_layers(config), "codes": codes}
    about |= {"rows": rows, "weights": weights, "threads": torch.get_num_threads()}
    about |= {"torch": torch.__version__, "library": build_digest(), "cpu": cpu_model()}
    about["instructions"] = torch.backends.cpu.get_cpu_capability()  # that torch may use
    key = hashlib.sha256(repr(sorted(about.items())).encode()).hexdigest()[:16]
    if key not in _FOUND:
        _FOUND[key] = _read(key) or _measured(config, rows, weights, key, timed or seconds_a_step)
    return _FOUND[key]


def seconds_a_step(lm: SpeechLM, rows: int, weights: str) -> dict[str, float]:
    """Time the fastest step of each engine, logits included; they take turns."""
    outputs = speech_outputs(lm)
    prompt = _prompt(rows)
    longest = prompt + _ROUNDS * _STEPS
    engines = {
        "native": NativeEngine(NativeDecoder(lm, weights), rows, longest),
        "torch": MergedEngine(MergedDecoder(lm, weights), rows, longest),
    }
    best = dict.fromkeys(engines, float("inf"))
    tokens = torch.full((rows,), lm.vocabulary.code_start)
    for engine in engines.values():
        engine.prefill([tokens[:1].repeat(prompt)] * rows)
    end = time.perf_counter() + _SECONDS
    for number in range(_ROUNDS):
        if number and time.perf_counter() > end:
            break
        for name, engine in engines.items():
            for _ in range(_STEPS):
                start = time.perf_counter()
                engine.logits(engine.decode(tokens), outputs)
                best[name] = min(best[name], time.perf_counter() - start)
    return best


_FOUND: dict[str, str] = {}  # in this process, by key


@torch.no_grad()
def _measured(config: SpeechLMConfig, rows: int, weights: str, key: str, timed: Timer) -> str:
    """Time the engines on a model of a few random layers, and keep what was found."""
    small = replace(config, num_layers=_few_layers(config), code_table=0)
    longest = _prompt(1) + _ROUNDS * _STEPS
    with torch.random.fork_rng(devices=[]):
        lm = SpeechLM(replace(small, max_seq_len=longest)).eval()
    seconds = timed(lm, rows, weights)
    engine = "torch" if seconds["torch"] * _MARGIN < seconds["native"] else "native"
    _LOGGER.info("engine %s for %d rows: seconds a step %s", engine, rows, seconds)
    try:
        write_json(_path(key), {"engine": engine, "rows": rows, "seconds": seconds})
    except OSError as error:  # a folder that cannot be written to costs time alone
        _LOGGER.info("the faster engine is not kept: %s", error)
    return engine


def _few_layers(config: SpeechLMConfig) -> int:
    """Layers of the small model: few enough to be made and read in a moment."""
    heads = 2 * (config.num_heads + config.kv_heads) * config.dim_head
    weights = config.dim * (heads + 3 * config.ff_dim)  # a layer
    return max(1, min(config.num_layers, _LAYERS, _MOST_WEIGHTS // weights))


def _prompt(rows: int) -> int:
    """Tokens that each row begins with."""
    return max(1, _PROMPT_TOKENS // rows)


def _read(key: str) -> str | None:
    """The engine that was found earlier, None where it is not there or cannot be read."""
    try:
        engine = read_json(_path(key), required=("engine",))["engine"]
    except (OSError, ValueError):
        return None
    return engine if engine in ("native", "torch") else None


def _path(key: str) -> Path:
    return cache_folder() / f"engine-{key}.json"
