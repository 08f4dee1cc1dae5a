"""Generation by llama.cpp on the CPU with the weights of a speech LM, all in float32."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slm.model.gguf_export import export_gguf
from slm.model.speech_lm import SpeechLM

PACKAGES = ("gguf", "xllamacpp")
_TOKEN = re.compile(r"<(\d+)>")


class LlamaCpp:
    """The server of llama.cpp inside this process, as the package xllamacpp has it.

    The package gives no other way in: a call passes JSON there and back, a small share of the time
    of a row.
    """

    def __init__(self, lm: SpeechLM, rows: int, positions: int) -> None:
        """Load the weights.

        Args:
            lm: The model.
            rows: Prompts at once.
            positions: Tokens a row, its prompt included.
        """
        package: Any = import_module("xllamacpp")
        settings = package.CommonParams()
        settings.n_parallel = rows
        settings.n_ctx = rows * (positions + 1)
        settings.fit_params = False  # to the memory that is free
        settings.n_gpu_layers = 0
        settings.cpuparams.n_threads = torch.get_num_threads()
        settings.cpuparams_batch.n_threads = torch.get_num_threads()
        # In float32 its flash attention is slower than the plain one.
        settings.cache_type_k = settings.cache_type_v = package.ggml_type.GGML_TYPE_F32
        settings.flash_attn_type = package.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.load_mode = package.llama_load_mode.LLAMA_LOAD_MODE_NONE  # the file goes
        settings.ui = False
        settings.verbosity = 1  # errors alone
        with tempfile.TemporaryDirectory() as folder:
            settings.model.path = str(export_gguf(lm, Path(folder) / "model.gguf"))
            self._server = package.Server(settings)

    def generate(self, prompts: Tensor, new_tokens: int) -> list[list[int]]:
        """Continue prompts (rows, N) by exactly `new_tokens` each, the likeliest of all tokens."""
        answer = self._complete(prompts, new_tokens)
        ordered = sorted(answer["choices"], key=lambda choice: choice["index"])
        return [[int(token) for token in _TOKEN.findall(each["text"])] for each in ordered]

    def log_probabilities(self, prompt: Tensor, likeliest: int) -> dict[int, float]:
        """Natural logarithms of the likeliest tokens' probabilities after a prompt (N,)."""
        answer = self._complete(prompt[None], 1, logprobs=likeliest, n_probs=likeliest)
        found = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        return {each["id"]: each["logprob"] for each in found}

    def _complete(self, prompts: Tensor, new_tokens: int, **options: Any) -> dict[str, Any]:
        greedy = {"temperature": 0, "samplers": ["top_k"], "top_k": 1, "ignore_eos": True}
        request = {"prompt": prompts.tolist(), "max_tokens": new_tokens, "cache_prompt": False}
        answer = self._server.handle_completions(request | greedy | options)
        if "choices" not in answer:
            raise ValueError(f"expected completions of llama.cpp, got {answer}")
        return answer


def llama_cpp_run(lm: SpeechLM, prompts: Tensor, new_tokens: int) -> Callable[[], object]:
    """A call that continues `prompts` (rows, N) greedily."""
    model = LlamaCpp(lm, len(prompts), prompts.shape[1] + new_tokens)
    return lambda: model.generate(prompts, new_tokens)
