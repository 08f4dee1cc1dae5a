"""Pairs of a model's own speech: each text is spoken several times and ranked by verifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from codec.checks import require
from codec.files.json_lines import appending, keep_json_lines, read_json_lines
from slm import GenerationSettings, SpeechRequest, Synthesis, Synthesizer
from slm.data.alignment import Alignment
from slm.data.documents import Document, build_aligned, build_document
from slm.generation.best_of import Verifier, rank
from slm.generation.retries import derived_seed
from slm.training.preferences import PreferencePair

from .preference_config import PreferencesConfig
from .verifiers import make_verifiers


def make_pairs(
    config: PreferencesConfig,
    synthesizer: Synthesizer,
    requests: Mapping[str, SpeechRequest],
    path: Path,
) -> list[dict[str, Any]]:
    """Speak and rank the texts that have no row yet; returns the rows of all.

    A row without `chosen` is of a text whose candidates did not differ enough. Rows of texts that
    have changed, or are not among these any more, are dropped.
    """
    asked = {name: _asked(synthesizer, request) for name, request in requests.items()}

    def is_current(row: dict[str, Any]) -> bool:
        # Rows of 0.1 hold neither language nor seed, those of 0.2.0 no speed.
        now = asked.get(row["id"])
        return now is not None and all(row.get(key, now[key]) == now[key] for key in now)

    keep_json_lines(path, is_current)
    rows = read_json_lines(path, torn="drop", missing_ok=True)
    done = {row["id"] for row in rows}
    waiting = [name for name in requests if name not in done]
    verifiers = make_verifiers(config.verifiers, config.verifier_words) if waiting else {}
    settings = replace(
        GenerationSettings.for_model(synthesizer.lm.config),
        temperature=config.temperature,
        top_p=config.top_p,
    )
    with appending(path) as append:
        for name in tqdm(waiting, desc="speak", unit="text"):
            row = ranked(config, synthesizer, requests[name], verifiers, settings)
            append({"id": name, **row})
            rows.append({"id": name, **row})
    return rows


def ranked(
    config: PreferencesConfig,
    synthesizer: Synthesizer,
    request: SpeechRequest,
    verifiers: Mapping[str, Verifier],
    settings: GenerationSettings,
) -> dict[str, Any]:
    """Speak a text several times; the best and the worst, and what the verifiers gave all."""
    seeds = [derived_seed(request.seed, 1000 * number) for number in range(config.candidates)]
    made = synthesizer.synthesize(
        [replace(request, seed=seed) for seed in seeds], settings=settings, max_attempts=1
    )
    asked = _asked(synthesizer, request)
    prompt = None if asked["voice"] is None else synthesizer.decode(np.array(asked["voice"]))
    ranking = rank(made, verifiers, request.text, prompt)
    # Speech that ran away comes last, then by the verifiers in order.
    scores = list(zip(*ranking.scores.values(), strict=True))
    keys = [(float(not each.truncated), *scores[number]) for number, each in enumerate(made)]
    lengths = [len(each.codes) for each in made]
    best, worst = widest_pair(keys, lengths, config.length_tolerance)
    gaps = np.subtract(keys[best], keys[worst])
    differs = gaps[0] > 0 or gaps[1] >= max(config.least_gap, 1e-9)
    return {
        **asked,
        "scores": {name: list(given) for name, given in ranking.scores.items()},
        "chosen": _kept(made[best]) if differs else None,
        "rejected": _kept(made[worst]) if differs else None,
    }


def widest_pair(
    keys: Sequence[tuple[float, ...]], lengths: Sequence[int], tolerance: float | None = None
) -> tuple[int, int]:
    """Find the candidates that differ most in their keys, by the first number, then the second.

    Args:
        keys: One tuple a candidate, higher is better.
        lengths: Of each, in any unit.
        tolerance: Most by which the longer of two may exceed the other, as a share; None for any.

    Returns:
        Indices of the better and the worse; the same index twice where no two lengths are close.
    """

    def is_close(one: int, other: int) -> bool:
        short, long = sorted((lengths[one], lengths[other]))
        return tolerance is None or long <= (1 + tolerance) * short

    pairs = product(range(len(keys)), repeat=2)
    close = [(one, other) for one, other in pairs if is_close(one, other)]
    # An earlier candidate is taken of two that are alike.
    return max(close, key=lambda pair: tuple(np.subtract(keys[pair[0]], keys[pair[1]])))


def pair_of(
    synthesizer: Synthesizer, row: Mapping[str, Any], *, durations: bool = True
) -> PreferencePair:
    """Build the documents of a row, whose durations are compared too, or the codes alone."""
    documents = [_document(synthesizer, row, row[side]) for side in PreferencePair._fields]
    if not durations and synthesizer.lm.config.is_aligned:
        first = synthesizer.lm.vocabulary.code_start
        documents = [
            each._replace(loss_weights=np.where(each.tokens >= first, each.loss_weights, 0))
            for each in documents
        ]
    return PreferencePair(*documents)


def _asked(synthesizer: Synthesizer, request: SpeechRequest) -> dict[str, Any]:
    """Describe what a text is synthesized from, as a row holds it."""
    voice = _codes_of(synthesizer, request.voice)
    return {
        "text": request.text,
        "voice": None if voice is None else voice.tolist(),
        "language": request.language,
        "seed": request.seed,
        "speed": request.speed,
    }


def _codes_of(synthesizer: Synthesizer, voice: Any) -> np.ndarray | None:
    """Codes of a voice as the model takes them, None for none."""
    if voice is None:
        return None
    if isinstance(voice, str):
        known = sorted(synthesizer.voices)
        require(voice in synthesizer.voices, "voice", f"one of {known}", voice)
        voice = synthesizer.voices[voice]
    return np.asarray(voice)[: synthesizer.lm.config.max_prompt_codes]


def _kept(made: Synthesis) -> dict[str, Any]:
    return {"codes": made.codes.tolist(), "counts": list(made.counts), "truncated": made.truncated}


def _document(
    synthesizer: Synthesizer, row: Mapping[str, Any], said: Mapping[str, Any]
) -> Document:
    """The document of a text and one way of saying it."""
    lm, codes = synthesizer.lm, np.array(said["codes"], dtype=np.int64)
    text_ids = synthesizer.tokenizer.encode(row["text"], row.get("language", "en"))
    prompt = None if row["voice"] is None else np.array(row["voice"])
    if not lm.config.is_aligned:
        return build_document(lm.vocabulary, codes, text_ids=text_ids, prompt=prompt)
    alignment = Alignment(np.array(text_ids), np.array(said["counts"]))
    lookahead = lm.config.lookahead
    return build_aligned(lm.vocabulary, codes, alignment, lookahead=lookahead, prompt=prompt)
