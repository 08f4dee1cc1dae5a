"""Comparison of tokenizers by the same language model, trained on the codes of each.

    python -m recipes.comparisons.adapt recipes/configs/adapt.yaml corpus=../shared/digits
        run=runs/adapt

For each tokenizer: encode the corpus, train the LM for the same steps on the same seconds of
speech, measure the cost of valid codes in bits a second of speech, resynthesise valid clips from
their codes, synthesize valid texts by the LM, measure both. run/adapt.md holds tables and curves.
Finished tokenizers are skipped, a training that was cut off is resumed. `budget=0.1` takes a tenth
of all steps, those of codecs that are trained for the comparison included; `--dry-run` says what
would be done and what is missing.

A full run on speech: recipes/configs/adapt_speech.yaml budget=10 corpus=FOLDER, with hours of
transcribed English by hundreds of speakers, HH_WEIGHT_WHISPER, and a GPU (device=cuda).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codec.audio.store import AudioStore
from codec.command_line import DONE, WRONG_CALL, exit_status, name_list
from codec.error_text import message_of
from codec.files import read_json, write_json
from codec.files.json_lines import write_json_lines
from codec.provenance import provenance
from codec.runtime.run_lock import locked
from eval.metrics.readiness import require_ready
from eval.metrics.registry import make_metrics
from eval.protocols import Tokenizer
from eval.reporting.adaptability import CURVE, RESULT, RUN, Rendered, render
from eval.weights import use_device
from recipes.adaptability.codecs import train_codec
from recipes.adaptability.codes import encode_splits, ngram_figures
from recipes.adaptability.config import AdaptConfig
from recipes.adaptability.corpus import Phones, check_rate, prepare_corpus, prepare_phones
from recipes.adaptability.plan import missing_tokenizers, plan_adapt, plan_text, wanted_names
from recipes.adaptability.speech import generate_clips, resynthesize_clips
from recipes.adaptability.tokenizers import TokenizerConfig, make_tokenizer
from recipes.adaptability.training import train_lm
from recipes.corpora.preparation import spread
from recipes.runner.cli import make_parser
from recipes.runner.config import load_settings
from recipes.runner.run_folder import keep_settings
from recipes.runner.stages import say

PROGRAM = "python -m recipes.comparisons.adapt"
# Settings that change no result, or add to what is done.
RUNTIME = ("threads", "workers", "tokenizers", "device")


def main(argv: Sequence[str] | None = None) -> int:
    """Train and measure on every tokenizer; returns the exit status."""
    parser = make_parser(PROGRAM, __doc__ or "", schema=AdaptConfig)
    parser.add_argument(
        "--only", type=name_list, help="names of tokenizers, by commas (default: all)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done and what is missing"
    )
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        config = load_settings(AdaptConfig, arguments.config, arguments.overrides)
        if arguments.dry_run:
            plan = plan_adapt(config, only=arguments.only)
            print(json.dumps(plan, ensure_ascii=False) if arguments.json else plan_text(plan))
            return WRONG_CALL if plan["missing"] else DONE
        rendered = run_adapt(config, argv, only=arguments.only)
        page = rendered.page.with_suffix(".json")
        print(page.read_text(encoding="utf-8") if arguments.json else rendered.markdown)
        return DONE

    return exit_status(work, debug=arguments.debug)


def run_adapt(
    config: AdaptConfig, argv: Sequence[str] | None = None, *, only: Sequence[str] | None = None
) -> Rendered:
    """Compare tokenizers, then write the tables of `render`.

    Args:
        config: Settings of the comparison.
        argv: Words of the call, for the provenance; None for the process's.
        only: Names of tokenizers; None for all.

    Raises:
        ValueError: Before any work: an unknown tokenizer, a metric that is missing, a folder or a
            result made with other settings; after the others are compared: a tokenizer that
            failed, such as by a clip that does not fit a row.
    """
    wanted = wanted_names(config, only)
    # Everything that can be refused is refused before hours of work.
    use_device(config.device)
    for setting in ("resynthesis_metrics", "generation_metrics"):
        if names := getattr(config, setting):
            require_ready(make_metrics(names), setting=setting)
    run = Path(config.run)
    left_out = missing_tokenizers(config, wanted)
    for name, reason in left_out.items():
        if not config.tokenizers[name].optional:
            raise ValueError(f"{name}: {reason}")
        say("adapt", f"left out {name}: {reason}")
    keep_settings(config, run, RUNTIME)
    torch.set_num_threads(max(1, config.threads))
    audio = prepare_corpus(config)
    phones = prepare_phones(config)
    # Before any result, so that tables can be made of those that are there.
    write_json(run / RUN, about(config, audio, argv) | {"left_out": left_out})
    names = [name for name in wanted if name not in left_out]
    for name in names:
        # A result of other settings is refused before hours of work on the others.
        is_done(config.tokenizers[name], name, run / name)
    failures: list[Exception] = []
    for name in names:
        try:
            # Processes may share a run, not a tokenizer.
            with locked(run / name):
                if is_done(config.tokenizers[name], name, run / name):
                    say("adapt", f"{name}: done already")
                    continue
                compare_one(config, name, audio, run / name, phones)
        except (ValueError, RuntimeError, OSError) as error:
            # The others are compared all the same: the whole takes hours.
            say("adapt", f"{name}: failed: {message_of(error)}")
            failures.append(error)
            continue
        render(run)  # after each
    if failures:
        raise failures[0]
    return render(run)


def is_done(config: TokenizerConfig, name: str, folder: Path) -> bool:
    """Tell whether a tokenizer's result is there.

    Raises:
        ValueError: It is of other settings, or of the weights that a codec of ours had before it
            was trained anew.
    """
    path = folder / RESULT
    if not path.is_file():
        return False
    result = read_json(path, required=("settings",))
    # A result of an earlier release lacks the settings that have come since, at their defaults.
    before = vars(TokenizerConfig()) | result["settings"]
    remedy = "give the tokenizer another name, or delete the folder"
    if before != vars(config):
        raise ValueError(
            f"{folder}: expected a result of {vars(config)}, got one of {before}; {remedy}"
        )
    now = make_tokenizer(name, config).fingerprint if config.kind == "hh" else None
    # Results of earlier releases do not all name it.
    if now is not None and result.get("fingerprint", now) != now:
        raise ValueError(
            f"{folder}: expected a result of codec {now}, got one of {result['fingerprint']}; "
            f"{remedy}"
        )
    return True


def compare_one(
    config: AdaptConfig,
    name: str,
    audio: dict[str, AudioStore],
    folder: Path,
    phones: Phones | None = None,
) -> None:
    """Encode, train and measure one tokenizer, then write result.json."""
    tokenizer = made_tokenizer(config, name, audio, folder)
    if phones is not None:
        check_rate(tokenizer)
    say("adapt", f"{name}: encoding")
    encoded = encode_splits(tokenizer, audio, folder / "codes")
    say("adapt", f"{name}: training")
    trained = train_lm(config, encoded, folder / "lm", phones)
    result: dict[str, Any] = {
        "name": name,
        "settings": vars(config.tokenizers[name]),
        "fingerprint": tokenizer.fingerprint,
        "frame_rate": tokenizer.frame_rate,
        "num_codebooks": tokenizer.num_codebooks,
        "codebook_size": tokenizer.codebook_size,
        **encoded.figures,
        **trained.figures,
        **ngram_figures(encoded, trained.figures["bits_per_second"]),
    }
    say("adapt", f"{name}: resynthesis and generation")
    result |= resynthesize_clips(config, tokenizer, encoded, audio["valid"], folder / "resynthesis")
    result |= generate_clips(config, tokenizer, encoded, trained, audio, folder / "generation")
    # The result comes last: it marks the tokenizer as done.
    write_json_lines(folder / CURVE, trained.curve)
    write_json(folder / RESULT, result)


def made_tokenizer(
    config: AdaptConfig, name: str, audio: dict[str, AudioStore], folder: Path
) -> Tokenizer:
    """Load a tokenizer, or train it on the clips of train."""
    settings = config.tokenizers[name]
    if settings.kind == "trained":
        assert settings.source is not None
        say("adapt", f"{name}: training the codec of {settings.source}")
        return train_codec(config, name, settings.source, folder / "codec")

    def recordings(rate: int) -> Iterator[np.ndarray]:
        store = audio["train"]
        if rate != store.sample_rate:
            raise ValueError(f"expected k-means at {store.sample_rate} Hz, got {rate}")
        chosen = spread(range(len(store)), config.kmeans_clips)
        return (store.waveform(index) for index in chosen)

    # Read only where k-means has to be trained.
    return make_tokenizer(
        name,
        settings,
        folder=folder / "tokenizer",
        waveforms=recordings,
        seed=config.seed,
        device=config.device,
    )


def about(
    config: AdaptConfig, audio: dict[str, AudioStore], argv: Sequence[str] | None
) -> dict[str, Any]:
    """Describe a comparison: title, budget and provenance."""
    seconds = {
        split: sum(row["num_samples"] for row in store.rows) / store.sample_rate
        for split, store in audio.items()
    }
    title = (
        f"The same language model ({config.preset}, {config.within_budget(config.steps)} steps of "
        f"{config.batch_size} x {config.row_seconds:g} s of speech, {config.threads} CPU threads, "
        f"budget {config.budget:g}) "
        f"on the codes of several tokenizers of {Path(config.corpus).name}: "
        f"{len(audio['train'])} training clips ({seconds['train'] / 60:.1f} min), "
        f"{len(audio['valid'])} valid clips ({seconds['valid'] / 60:.1f} min)."
    )
    return {
        "title": title,
        "seconds": seconds,
        "text": config.text,
        "provenance": provenance(PROGRAM, argv),
    }


if __name__ == "__main__":
    raise SystemExit(main())
