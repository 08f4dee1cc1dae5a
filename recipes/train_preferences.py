"""Texts -> run/model: a speech language model that has learnt what verifiers prefer of its speech.

    python -m recipes.train_preferences recipes/configs/preferences.yaml texts=<file> run=runs/mine

Each text is spoken several times; the best and the worst by the verifiers are a pair
(`pairs.jsonl`) to train on (slm/training/preferences.py). A run that was cut off goes on where it
was. Measure the outcome by another verifier than the one that taught.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from codec.command_line import DONE, exit_status
from codec.error_text import message_of
from codec.files import replaced_files, write_json
from recipes.runner.cli import make_parser
from recipes.runner.config import load_settings
from recipes.runner.language_model import bind_models
from recipes.runner.run_folder import own_folder
from slm import SpeechLM, SpeechRequest, Synthesizer, TrainingSettings, fit_speech_lm
from slm.cli.batch_file import read_requests
from slm.model.model_folder import WEIGHTS
from slm.model.speech_lm import pretrained_folder
from slm.synthesis.voices import default_voice, save_voices
from slm.training.preferences import PreferenceRows

from .preference_config import PreferencesConfig
from .preference_pairs import make_pairs, pair_of
from .preference_plan import PAIRS_NAME, RUNTIME, show_plan

PROGRAM = "python -m recipes.train_preferences"


def main(argv: Sequence[str] | None = None) -> int:
    """Speak, rank, train and save; returns the exit status."""
    parser = make_parser(PROGRAM, __doc__, schema=PreferencesConfig)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the merged settings, what is done and what is missing; start nothing",
    )
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        config = load_settings(PreferencesConfig, arguments.config, arguments.overrides)
        if arguments.dry_run:
            return show_plan(config, as_json=arguments.json)
        figures = run(config)
        print(json.dumps(figures) if arguments.json else figures)
        return DONE

    # Whatever was interrupted, the same command goes on with it.
    words = sys.argv[1:] if argv is None else argv
    return exit_status(work, debug=arguments.debug, again=f"{PROGRAM} {shlex.join(words)}")


def run(config: PreferencesConfig) -> dict[str, Any]:
    """Make the pairs that are missing, train on all, save the model.

    Returns:
        Texts, and pairs trained and validated on.

    Raises:
        ValueError: A folder of other settings, a prompt that cannot be read, a verifier that cannot
            run here, or too few texts whose candidates differ.
    """
    folder = Path(config.run)
    with own_folder(config, folder, RUNTIME):
        return _run(config, folder)


def _run(config: PreferencesConfig, folder: Path) -> dict[str, Any]:
    """Do the work of `run` in a folder that no other process works in."""
    torch.set_num_threads(max(1, config.threads))
    synthesizer = Synthesizer.from_pretrained(config.codec, config.lm)
    requests = requests_of(config, synthesizer)
    # Pairs of the model as it is, not of one that had its name before.
    bind_models(folder, synthesizer)
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
                raise ValueError(f"{config.texts}: {name!r}: {message_of(error)}") from error
            # A transcript of the prompt is of no use: the model is to speak as from a voice alone.
            found[name] = replace(request, prompt=None, prompt_text=None, voice=voice)
        elif request.voice is None and names:
            found[name] = replace(request, voice=names[number % len(names)])
    return found


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
    fingerprint = lm.config.codec_fingerprint
    with replaced_files(folder, WEIGHTS) as partial:
        lm.save_pretrained(partial, synthesizer.tokenizer)
        save_voices(partial, synthesizer.voices, fingerprint, default_voice(source))


if __name__ == "__main__":
    raise SystemExit(main())
