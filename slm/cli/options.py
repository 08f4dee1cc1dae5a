"""Options that several commands share: their values, checked before anything is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.command_line import number, whole_number
from codec.devices import DEVICE_HELP, usable_device
from codec.files.names import check_place
from slm.generation.config import ENGINES, WEIGHTS, GenerationSettings

if TYPE_CHECKING:
    from slm.generation.best_of import Ranking
    from slm.model.config import SpeechLMConfig
    from slm.synthesis.result import Synthesis
    from slm.synthesis.synthesizer import Synthesizer

# Models of calls that name none; both come with the packages.
DEFAULT_CODEC, DEFAULT_LM = "hh-mini-24k-v2", "hh-mini-slm-v2"
SOUNDS = (".wav", ".flac")
SEEDS = 1 << 63  # 0 up to here
# A type for `add_argument`: a duration.
seconds = number(above=0)


def check_sound(path: str) -> None:
    """Raise `ValueError` for a path that cannot be a sound file to write."""
    if path == "-":
        raise ValueError(
            "expected --out to name a file, got '-'; hh-slm tts --stream writes to stdout"
        )
    if Path(path).suffix.lower() not in SOUNDS:
        raise ValueError(f"expected --out to end in {' or '.join(SOUNDS)}, got {path!r}")
    if Path(path).is_dir():
        raise ValueError(f"expected --out to name a file, got the folder {path!r}")
    check_place(path)


def check_not_read(outputs: Iterable[Path], inputs: Iterable[str | None]) -> None:
    """Raise `ValueError` where an output would take the place of a file that is read."""
    read = {Path(path).resolve(): path for path in inputs if path is not None}
    for path in outputs:
        if path.resolve() in read:
            raise ValueError(f"expected --out to name another file than {read[path.resolve()]}")


def check_folder(path: str) -> None:
    """Raise `ValueError` for a path that cannot be a folder to write to."""
    if Path(path).exists() and not Path(path).is_dir():
        raise ValueError(f"expected --out to name a folder with --file, got the file {path!r}")
    check_place(path, is_folder=True)


def add_models(command: argparse.ArgumentParser) -> None:
    """Add --codec, --lm and --device."""
    kinds = "model folder, bundled name or hub repository"
    command.add_argument(
        "--codec", help=f"{kinds} (default: the shipped one of the language model's codes)"
    )
    command.add_argument("--lm", default=DEFAULT_LM, help=kinds)
    command.add_argument("--device", default="cpu", help=DEVICE_HELP)


def codec_of(arguments: argparse.Namespace) -> str:
    """The codec that a call of `add_models` names, else the shipped one of its language model.

    Raises:
        ValueError: None is named, and no shipped codec has the codes of the language model.
    """
    if arguments.codec is not None:
        return arguments.codec
    if arguments.lm == DEFAULT_LM:
        return DEFAULT_CODEC
    from slm.synthesis.models import shipped_codec_of

    return shipped_codec_of(arguments.lm)


def load_synthesizer(arguments: argparse.Namespace) -> Synthesizer:
    """The models of `add_models` on their device.

    Raises:
        ValueError: A device that cannot be used, found before a model is read; models that are
            missing or do not belong together.
    """
    device = usable_device(arguments.device)
    from codec.weights import ZerosAsFirstWeights
    from slm.synthesis.synthesizer import Synthesizer

    with ZerosAsFirstWeights():
        synthesizer = Synthesizer.from_pretrained(codec_of(arguments), arguments.lm)
    return synthesizer.to(device)


# Settings that are as suits the model where the call does not name them.
_MODEL_SETTINGS = (
    "temperature",
    "top_p",
    "guidance",
    "prompt_guidance",
    "duration_temperature",
    "duration_top_p",
)


def add_generation(
    command: argparse.ArgumentParser, *, out: str = ".wav or .flac to write"
) -> None:
    """Add --out with its help, --seed, --attempts and the settings of `GenerationSettings`."""
    own = GenerationSettings()
    add = command.add_argument
    add("-o", "--out", required=True, help=out)
    add("--seed", type=whole_number(0, SEEDS), default=0, help="the same seed speaks the same")
    add("--attempts", type=whole_number(1), default=3, help="tries where speech runs away")
    add("--temperature", type=float, help="default: as suits the model")
    add("--top-k", type=int, default=own.top_k, help="likeliest codes to keep; 0 keeps all")
    add("--top-p", type=float, help="1 keeps all; default: as suits the model")
    add("--min-p", type=float, default=own.min_p, help="0 keeps all")
    add("--repetition-window", type=int, default=0, help="codes looked back over; 0 is off")
    add("--guidance", type=float, help="on the text; 1 is none; default: as suits the model")
    add("--prompt-guidance", type=float, help="the same, on the prompt's voice")
    add("--duration-temperature", type=float, help="of phones' lengths; default: the model's")
    add("--duration-top-p", type=float, help="the same for top-p")
    add("--interleaved", action="store_true", help="read the text in turns with the speech")
    add("--weights", default="exact", help=", ".join(WEIGHTS))
    add("--engine", default="auto", help=f"of the steps: {', '.join(ENGINES)}")


def sampling(
    arguments: argparse.Namespace, config: SpeechLMConfig | None = None
) -> GenerationSettings:
    """Settings of the call, else those that suit the model of a config.

    Raises:
        ValueError: A setting is out of range, or one that the model cannot have.
    """
    speed = getattr(arguments, "speed", 1)
    if config is not None and not config.is_aligned and speed != 1:
        raise ValueError(
            "expected --speed 1 for a model that draws no durations, which those of aligned speech "
            f"do, got {speed:g}"
        )
    # Some settings have no default of their own in the parser: they are as suits the model.
    own = GenerationSettings() if config is None else GenerationSettings.for_model(config)
    if arguments.interleaved:
        own = replace(own, guidance=1.0)  # which text in turns does not have
    asked = {name: getattr(arguments, name) for name in _MODEL_SETTINGS}
    return replace(
        own,
        **{name: value for name, value in asked.items() if value is not None},
        top_k=arguments.top_k,
        min_p=arguments.min_p,
        repetition_window=arguments.repetition_window,
        interleaved=arguments.interleaved,
        weights=arguments.weights,
        engine=arguments.engine,
    )


def described(result: Synthesis, path: str, ranking: Ranking | None = None) -> dict[str, Any]:
    """The report of speech that is written to `path`."""
    report: dict[str, Any] = {
        "out": path,
        "duration": result.duration,
        "num_codes": len(result.codes),
        "num_given_codes": result.num_given_codes,
        "truncated": result.truncated,
        "stopped": result.stopped,
        "rejected": list(result.rejected),
        "log_likelihood": result.log_likelihood,
        "seed": result.seed,
        "attempt": result.attempt,
    }
    if ranking is not None:
        report["choice"] = ranking.choice
        report["scores"] = {name: list(scores) for name, scores in ranking.scores.items()}
    return report
