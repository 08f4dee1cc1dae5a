"""Which tokenizer does a language model learn best? The same LM on the codes of several.

    python -m recipes.comparisons.adapt recipes/configs/adapt.yaml corpus=../shared/digits
        run=runs/adapt

For each tokenizer: encode the corpus, train the LM for the same steps on the same seconds of
speech, charge it for the valid codes in bits a second of speech, resynthesise valid clips from
their codes, let the LM speak valid texts, measure both. run/adapt.md holds tables and curves.
Finished tokenizers are skipped, a training that was cut off goes on.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import MISSING

from codec.audio.store import AudioStore
from codec.files import write_json
from codec.json_lines import write_json_lines
from codec.provenance import git_commit, hardware
from eval.metrics.registry import make_metrics, require_ready
from eval.protocols import Tokenizer
from eval.reporting.adaptability import CURVE, RESULT, RUN, Rendered, render
from recipes.corpora.preparation import spread
from recipes.runner.cli import make_parser
from recipes.runner.config import Config, keep_settings, load_settings
from recipes.runner.schema import PrepareConfig
from recipes.runner.stages import run_stage, say, stage_folder

from .adapt_codes import encode_splits
from .adapt_likelihood import ngram_figures
from .adapt_speech import generate_clips, resynthesize_clips
from .adapt_training import train_lm
from .tokenizers import TokenizerConfig, make_tokenizer

RUNTIME = ("threads", "workers", "tokenizers")


@dataclass
class AdaptConfig:
    """The corpus, the tokenizers, the budget and what is measured."""

    # Folder that holds manifest.jsonl.
    corpus: str = MISSING
    run: str = MISSING
    seed: int = 0
    # By name. A codec's codes, k-means on mels, codecs of transformers:
    # recipes/comparisons/tokenizers.py.
    tokenizers: dict[str, TokenizerConfig] = field(default_factory=dict)
    # Clips of each split at most, evenly spread; null = all. RMS they are brought to, dBFS.
    clips: int | None = None
    loudness_dbfs: float = -23.0
    # Training clips that k-means sees at most.
    kmeans_clips: int = 1000
    # The LM: preset of slm/model/config.py and fields to change; it is the same for every
    # tokenizer.
    preset: str = "mini"
    overrides: dict[str, Any] = field(default_factory=dict)
    # Pieces of the text model, and share of clips whose text is dropped.
    text_vocab: int = 64
    text_drop_probability: float = 0.5
    # Share of documents that open with another clip of the speaker, and its length in seconds.
    prompt_probability: float = 0.5
    prompt_seconds: list[float] = field(default_factory=lambda: [0.2, 0.6])
    # A step reads batch_size rows of so many seconds of speech, whatever the token rate.
    row_seconds: float = 12.0
    batch_size: int = 2
    steps: int = 600
    learning_rate: float = 1e-3
    min_learning_rate: float = 2e-5
    warmup_steps: int = 50
    weight_decay: float = 0.1
    bf16: bool = False
    validate_every: int = 50
    # Valid clips resynthesised, texts spoken (null = all), rows spoken at once.
    resynthesize: int | None = 40
    generate: int | None = 40
    generate_batch: int = 10
    temperature: float = 0.8
    top_p: float = 0.95
    # Metrics by name; of generated speech only those that need no recording.
    resynthesis_metrics: list[str] = field(
        default_factory=lambda: ["stoi", "estoi", "mel_l1", "pitch"]
    )
    generation_metrics: list[str] = field(default_factory=list)
    # Words the recogniser may hear; [] = no word errors, [any] = its US-English model.
    words: list[str] = field(default_factory=list)
    threads: int = 1
    workers: int = 0

    def __post_init__(self) -> None:
        if not self.tokenizers:
            raise ValueError("tokenizers: expected at least one, got none")
        if (
            len(self.prompt_seconds) != 2
            or not 0 < self.prompt_seconds[0] <= self.prompt_seconds[1]
        ):
            raise ValueError(
                f"prompt_seconds: expected [shortest, longest], got {self.prompt_seconds}"
            )
        for name in ("row_seconds", "batch_size", "steps", "validate_every", "generate_batch"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Train and measure on every tokenizer; returns the exit status."""
    parser = make_parser("python -m recipes.comparisons.adapt", __doc__)
    parser.add_argument("--only", help="names of tokenizers, by commas (default: all)")
    arguments = parser.parse_intermixed_args(argv)
    try:
        config = load_settings(AdaptConfig, arguments.config, arguments.overrides)
        only = arguments.only.split(",") if arguments.only else None
        rendered = run_adapt(config, sys.argv[1:] if argv is None else argv, only=only)
    except (ValueError, OSError) as error:
        if arguments.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    page = rendered.page.with_suffix(".json")
    print(page.read_text(encoding="utf-8") if arguments.json else rendered.markdown)
    return 0


def run_adapt(
    config: AdaptConfig, argv: Sequence[str] = (), *, only: Sequence[str] | None = None
) -> Rendered:
    """Everything, then the tables of `render`.

    Raises:
        ValueError: Before any work: an unknown tokenizer, a metric that is missing, a folder
            made with other settings; later: a clip that does not fit a row.
    """
    wanted = list(config.tokenizers) if only is None else list(only)
    unknown = [name for name in wanted if name not in config.tokenizers]
    if unknown:
        raise ValueError(f"--only: expected some of {list(config.tokenizers)}, got {unknown}")
    for names in (config.resynthesis_metrics, config.generation_metrics):
        if names:
            require_ready(make_metrics(names))
    run = Path(config.run)
    keep_settings(config, run, RUNTIME)
    torch.set_num_threads(max(1, config.threads))
    audio = prepared(config)
    write_json(run / RUN, about(config, audio, argv))
    for name in wanted:
        if is_done(config.tokenizers[name], run / name):
            say("adapt", f"{name}: done already")
            continue
        compare_one(config, name, audio, run / name)
        render(run)
    return render(run)


def is_done(config: TokenizerConfig, folder: Path) -> bool:
    """Whether a tokenizer's result is there.

    Raises:
        ValueError: It is of other settings.
    """
    path = folder / RESULT
    if not path.is_file():
        return False
    before = json.loads(path.read_text(encoding="utf-8"))["settings"]
    if before != vars(config):
        raise ValueError(
            f"{folder} was made with {before}, got {vars(config)}; give the tokenizer another "
            "name, or delete the folder"
        )
    return True


def prepared(config: AdaptConfig) -> dict[str, AudioStore]:
    """The corpus as stores of equal loudness, by split; made by the prepare stage."""
    settings = Config(
        corpus=config.corpus,
        run=str(Path(config.run) / "corpus"),
        seed=config.seed,
        threads=config.threads,
        prepare=PrepareConfig(limit=config.clips, loudness_dbfs=config.loudness_dbfs),
    )
    run_stage(settings, "prepare")
    folder = stage_folder(settings, "prepare")
    return {split: AudioStore(folder / split) for split in ("train", "valid")}


def compare_one(config: AdaptConfig, name: str, audio: dict[str, AudioStore], folder: Path) -> None:
    """Everything of one tokenizer; result.json, last, says that it is done."""
    say("adapt", f"{name}: encoding")

    def recordings(rate: int) -> Iterator[np.ndarray]:
        store = audio["train"]
        if rate != store.sample_rate:
            raise ValueError(f"expected k-means at {store.sample_rate} Hz, got {rate}")
        chosen = spread(list(range(len(store))), config.kmeans_clips)
        return (store.waveform(index) for index in chosen)

    tokenizer = make_tokenizer(
        name,
        config.tokenizers[name],
        folder=folder / "tokenizer",
        waveforms=recordings,
        seed=config.seed,
    )
    encoded = encode_splits(tokenizer, audio, folder / "codes")
    say("adapt", f"{name}: training")
    trained = train_lm(config, encoded, folder / "lm")
    result: dict[str, Any] = {
        "name": name,
        "settings": vars(config.tokenizers[name]),
        **describe(tokenizer),
        **encoded.figures,
        **trained.figures,
        **ngram_figures(encoded, trained.figures["bits_per_second"]),
    }
    say("adapt", f"{name}: resynthesis and generation")
    result |= resynthesize_clips(config, tokenizer, encoded, audio["valid"], folder / "resynthesis")
    result |= generate_clips(config, tokenizer, encoded, trained, audio, folder / "generation")
    write_json_lines(folder / CURVE, trained.curve)
    write_json(folder / RESULT, result)


def describe(tokenizer: Tokenizer) -> dict[str, Any]:
    """What a tokenizer is."""
    return {
        "fingerprint": tokenizer.fingerprint,
        "frame_rate": tokenizer.frame_rate,
        "num_codebooks": tokenizer.num_codebooks,
        "codebook_size": tokenizer.codebook_size,
    }


def about(config: AdaptConfig, audio: dict[str, AudioStore], argv: Sequence[str]) -> dict[str, Any]:
    """Title, budget and provenance of a comparison."""
    seconds = {
        split: sum(row["num_samples"] for row in store.rows) / store.sample_rate
        for split, store in audio.items()
    }
    title = (
        f"The same language model ({config.preset}, {config.steps} steps of "
        f"{config.batch_size} x {config.row_seconds:g} s of speech, {config.threads} CPU threads) "
        f"on the codes of several tokenizers of {Path(config.corpus).name}: "
        f"{len(audio['train'])} training clips ({seconds['train'] / 60:.1f} min), "
        f"{len(audio['valid'])} valid clips ({seconds['valid'] / 60:.1f} min)."
    )
    provenance = {
        "command": shlex.join(["python", "-m", "recipes.comparisons.adapt", *argv]),
        "commit": git_commit() or "not a git checkout",
        "hardware": hardware(),
        "date": date.today().isoformat(),
    }
    return {"title": title, "seconds": seconds, "provenance": provenance}


if __name__ == "__main__":
    raise SystemExit(main())
