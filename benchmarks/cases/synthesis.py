"""Synthesis end to end with the shipped models, from text to waveform."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from benchmarks.harness.benchmark import Benchmark, Contestant, Figure
from slm import SpeechLM, Synthesizer
from slm.bench.contestants import stock_twin
from slm.cli.options import DEFAULT_LM as LM
from slm.data.vocabulary import Vocabulary

from .codec import SHIPPED

TEXTS = {
    "tiny": ["Yes."],
    "small": ["Good morning."],
    "full": ["Good morning, and welcome.", "This voice was never recorded saying these words."],
}


def build(size: str, folder: Path) -> dict[str, Contestant]:
    """Build the synthesis of texts one after the other; work is seconds of speech.

    The reference work is x-transformers' cached generation of as many codes by a model of the same
    width and depth: no text, no phones, no durations, no waveform.
    """
    texts = TEXTS[size]
    synthesizer = Synthesizer.from_pretrained(SHIPPED, LM)
    voice = next(iter(synthesizer.voices), None)

    def synthesize() -> list[int]:
        made = [synthesizer.tts(text, voice=voice, seed=0) for text in texts]
        return [len(each.codes) for each in made]

    def synthesize_batch() -> object:
        return synthesizer.tts_batch(texts, voices=[voice] * len(texts), seeds=[0] * len(texts))

    def begin() -> None:
        for text in texts:
            next(synthesizer.stream(text, voice=voice, seed=0))

    # Codes of each text: how much the reference work makes, and the seconds of speech.
    counts = synthesize()
    seconds = sum(counts) / synthesizer.lm.config.frame_rate
    stock = cache(lambda: stock_twin(_plain_twin(synthesizer.lm)))

    def generate() -> None:
        prompt = torch.zeros(1, 1, dtype=torch.int64)
        for count in counts:
            stock().generate(prompt, count, temperature=0.0, cache_kv=True)

    return {
        "speech": Contestant(lambda: synthesize, seconds),
        "speech batch": Contestant(lambda: synthesize_batch, seconds),
        "first sound": Contestant(lambda: begin, seconds),
        "x-transformers codes": Contestant(lambda: generate, seconds),
    }


def _plain_twin(lm: SpeechLM) -> SpeechLM:
    """A random model of the same width, depth and codes, with plain embeddings."""
    torch.manual_seed(0)
    return SpeechLM(
        replace(
            lm.config,
            vocabulary=Vocabulary(64, lm.vocabulary.codebook_size).to_dict(),
            code_table=0,
            codebook_dim=0,
            lookahead=0,
        )
    ).eval()


BENCHMARKS = (
    Benchmark(
        "synthesis",
        "text to waveform with the shipped models",
        "s of speech",
        build,
        (
            Figure(
                "speech",
                "x-transformers codes",
                "the whole way beside x-transformers making as many codes with a model of the "
                "same width and depth",
            ),
            Figure(
                "speech batch",
                "x-transformers codes",
                "all texts in one batch, beside the same",
                ("tiny", "full"),
            ),
            Figure(
                "first sound",
                "speech",
                "the first piece of a stream of each text, beside its whole waveform",
                ("full",),
            ),
        ),
    ),
)
CURVES = ()
