"""Texts -> run/model: a speech language model that has learnt what verifiers prefer of its speech.

    python -m recipes.train_preferences recipes/configs/preferences.yaml texts=<file> run=runs/mine

Each text is spoken several times; the best and the worst by the verifiers are a pair
(`pairs.jsonl`) to train on (slm/training/preferences.py). A run that was cut off goes on where it
was. Measure the outcome by another verifier than the one that taught.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import MISSING
from tqdm import tqdm

from codec.checks import at_least, in_range, require
from codec.command_line import DONE, exit_status
from codec.files import write_json
from codec.files.json_lines import appending, read_json_lines
from recipes.runner.cli import make_parser
from recipes.runner.config import keep_settings, load_settings
from recipes.runner.schema import VERIFIERS
from slm import (
    GenerationSettings,
    SpeechLM,
    SpeechRequest,
    Synthesis,
    Synthesizer,
    TrainingSettings,
    fit_speech_lm,
)
from slm.cli.batch_file import read_requests
from slm.data.alignment import Alignment
from slm.data.documents import Document, build_aligned, build_document
from slm.generation.best_of import Verifier, rank
from slm.generation.retries import derived_seed
from slm.model.speech_lm import pretrained_folder
from slm.synthesis.voices import default_voice, save_voices
from slm.training.preferences import PreferencePair, PreferenceRows, PreferenceSettings

from .verifiers import make_verifiers

PROGRAM = "python -m recipes.train_preferences"
PAIRS_NAME = "pairs.jsonl"
# Settings that change no result.
RUNTIME = ("threads", "validate_every", "checkpoint_every")


@dataclass
class PreferencesConfig:
    """The model, its texts, the verifiers and the training."""

    # Texts to speak: one a line, .jsonl with text and, as needed, id, seed and voice or prompt, or
    # a list of seed-tts-eval (.lst), whose prompts give voices that the model has no name for.
    texts: str = MISSING
    run: str = MISSING
    seed: int = 0
    # Folders, bundled names or hub repositories.
    codec: str = "hh-mini-24k-v2"
    lm: str = "hh-mini-slm-v2"
    # Times each text is spoken, and how codes are drawn: warm enough that candidates differ.
    candidates: int = 4
    temperature: float = 0.8
    top_p: float = 0.95
    # What ranks them, the most important first (recipes/verifiers.py); least difference between
    # best and worst by the first of them that makes a pair.
    verifiers: list[str] = field(default_factory=lambda: ["words"])
    verifier_words: list[str] | None = None
    least_gap: float = 0.1
    # Share of the pairs that are validated on instead.
    held_out: float = 0.1
    preferences: PreferenceSettings = field(default_factory=PreferenceSettings)
    # Compare how long phones last, too, and not the codes alone: most of what there is to gain, and
    # speech becomes slower.
    durations: bool = True
    # Pairs of a batch, batches of a step.
    batch_size: int = 4
    accumulate: int = 2
    steps: int = 100
    learning_rate: float = 2e-5
    min_learning_rate: float = 2e-6
    warmup_steps: int = 10
    bf16: bool = False
    validate_every: int = 20
    checkpoint_every: int = 20
    threads: int = 1

    def __post_init__(self) -> None:
        at_least("candidates", self.candidates, 2)
        at_least("least_gap", self.least_gap, 0)
        in_range("held_out", self.held_out, 0, 1, ends="[)")
        known = set(self.verifiers) <= set(VERIFIERS) and bool(self.verifiers)
        require(known, "verifiers", f"some of {', '.join(VERIFIERS)}", self.verifiers)


def main(argv: Sequence[str] | None = None) -> int:
    """Speak, rank, train and save; returns the exit status."""
    parser = make_parser(PROGRAM, __doc__, schema=PreferencesConfig)
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        figures = run(load_settings(PreferencesConfig, arguments.config, arguments.overrides))
        print(json.dumps(figures) if arguments.json else figures)
        return DONE

    return exit_status(work, debug=arguments.debug)


def run(config: PreferencesConfig) -> dict[str, Any]:
    """Make the pairs that are missing, train on all, save the model.

    Returns:
        Texts, and pairs trained and validated on.

    Raises:
        ValueError: A folder of other settings, a prompt that cannot be read, a verifier that cannot
            run here, or too few texts whose candidates differ.
    """
    folder = Path(config.run)
    keep_settings(config, folder, RUNTIME)
    torch.set_num_threads(max(1, config.threads))
    synthesizer = Synthesizer.from_pretrained(config.codec, config.lm)
    requests = requests_of(config, synthesizer)
    rows = make_pairs(config, synthesizer, requests, folder / PAIRS_NAME)
    spoken = [row for row in rows if row["chosen"] is not None]
    pairs = [pair_of(synthesizer, row, durations=config.durations) for row in spoken]
    held = round(config.held_out * len(pairs))
    if len(pairs) - held < config.batch_size:
        raise ValueError(
            f"expected at least {config.batch_size} pairs to train on, got {len(pairs) - held} of "
            f"{len(rows)} texts; give more texts or candidates, or lower least_gap"
        )
    lm = starting_lm(config)
    options: dict[str, Any] = {"batch_size": config.batch_size, "settings": config.preferences}
    train = PreferenceRows(pairs[held:], lm, seed=config.seed, **options)
    valid = PreferenceRows(pairs[:held], lm, **options).validation() if held else {}
    fit_speech_lm(lm, train, folder / "training", settings=training(config), validation=valid)
    save(config, lm, synthesizer, folder / "model")
    figures = {"texts": len(rows), "pairs": len(pairs) - held, "held_out": held}
    write_json(folder / "metrics.json", figures)
    return figures


def requests_of(config: PreferencesConfig, synthesizer: Synthesizer) -> dict[str, SpeechRequest]:
    """Read the texts by id; those with neither a voice nor a prompt take the model's in turn.

    A prompt is encoded at once: a wrong one is told before anything is spoken.
    """
    found = read_requests(config.texts, SpeechRequest("", seed=config.seed))
    names = sorted(synthesizer.voices)
    for number, (name, request) in enumerate(found.items()):
        if request.prompt is not None:
            try:
                voice = synthesizer.encode_prompt(request.prompt)
            except (ValueError, OSError) as error:
                raise ValueError(f"{config.texts}: {name!r}: {error}") from error
            # A transcript of the prompt is of no use: the model is to speak as from a voice alone.
            found[name] = replace(request, prompt=None, prompt_text=None, voice=voice)
        elif request.voice is None and names:
            found[name] = replace(request, voice=names[number % len(names)])
    return found


def make_pairs(
    config: PreferencesConfig,
    synthesizer: Synthesizer,
    requests: Mapping[str, SpeechRequest],
    path: Path,
) -> list[dict[str, Any]]:
    """Speak and rank the texts that have no row yet; returns the rows of all.

    A row without `chosen` is of a text whose candidates did not differ enough.
    """
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
    voice = _codes_of(synthesizer, request.voice)
    prompt = None if voice is None else synthesizer.decode(voice)
    ranking = rank(made, verifiers, request.text, prompt)
    # Speech that ran away comes last, then by the verifiers in order.
    scores = list(zip(*ranking.scores.values(), strict=True))
    keys = [(not each.truncated, *scores[number]) for number, each in enumerate(made)]
    worst = min(range(len(made)), key=keys.__getitem__)
    first = ranking.scores[next(iter(ranking.scores))]
    differs = keys[ranking.choice][0] != keys[worst][0]
    differs |= first[ranking.choice] - first[worst] >= max(config.least_gap, 1e-9)
    return {
        "text": request.text,
        "voice": None if voice is None else voice.tolist(),
        "scores": {name: list(given) for name, given in ranking.scores.items()},
        "chosen": _kept(made[ranking.choice]) if differs else None,
        "rejected": _kept(made[worst]) if differs else None,
    }


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


def starting_lm(config: PreferencesConfig) -> SpeechLM:
    """Load the model to train, code tables as they are, without the noise of dropout."""
    # The reference is without it, too: the loss shall compare weights, not masks.
    lm = SpeechLM.from_pretrained(config.lm, fold=False)
    plain = SpeechLM(replace(lm.config, dropout=0.0, code_dropout=0.0))
    plain.load_state_dict(lm.state_dict())
    return plain.eval()


def training(config: PreferencesConfig) -> TrainingSettings:
    """Build the settings of the training."""
    names = ("learning_rate", "min_learning_rate", "warmup_steps", "bf16", "accumulate")
    names += ("validate_every", "checkpoint_every", "seed")
    given = {name: getattr(config, name) for name in names}
    return TrainingSettings(max_steps=config.steps, weight_decay=0.0, **given)


def save(config: PreferencesConfig, lm: SpeechLM, synthesizer: Synthesizer, folder: Path) -> None:
    """Save the model with its text model, its voices and the dropout it had."""
    source = pretrained_folder(config.lm)
    own = SpeechLM.from_pretrained(source).config
    lm.config = replace(lm.config, dropout=own.dropout, code_dropout=own.code_dropout)
    lm.save_pretrained(folder, synthesizer.tokenizer)
    fingerprint = lm.config.codec_fingerprint
    save_voices(folder, synthesizer.voices, fingerprint, default_voice(source))


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
    text_ids = synthesizer.tokenizer.encode(row["text"])
    prompt = None if row["voice"] is None else np.array(row["voice"])
    if not lm.config.is_aligned:
        return build_document(lm.vocabulary, codes, text_ids=text_ids, prompt=prompt)
    alignment = Alignment(np.array(text_ids), np.array(said["counts"]))
    lookahead = lm.config.lookahead
    return build_aligned(lm.vocabulary, codes, alignment, lookahead=lookahead, prompt=prompt)


if __name__ == "__main__":
    raise SystemExit(main())
