"""`hh-slm continue` and `hh-slm score`: recordings continued, and their likelihood."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.command_line import DONE, FAILED, Commands, add_command, print_report
from codec.error_text import message_of

from .options import (
    add_generation,
    add_models,
    check_not_read,
    check_sound,
    described,
    load_synthesizer,
    sampling,
    seconds,
)

if TYPE_CHECKING:
    from slm.model.likelihood import Score
    from slm.synthesis.synthesizer import Synthesizer


def add(commands: Commands) -> None:
    """Add both commands."""
    command = add_command(
        commands,
        "continue",
        run_continue,
        summary="continue a recording",
        examples="example:\n  hh-slm continue start.wav --seconds 5 -o longer.wav",
    )
    command.add_argument("audio", help="recording to continue")
    command.add_argument("--seconds", type=seconds, default=3.0, help="longest continuation, s")
    command.add_argument("--text", help="transcript of the recording and of what is to follow")
    add_models(command)
    add_generation(command)

    command = add_command(
        commands,
        "score",
        run_score,
        summary="log-likelihood of recordings, nats a code",
        description="Log-likelihood of recordings, nats a code. A recording that cannot be scored "
        "is reported with its error, and the exit status is 1.",
        examples="example:\n  hh-slm score one.wav other.wav --json",
    )
    command.add_argument("audio", nargs="+", help="recordings")
    command.add_argument("--text", help="transcript, the same for all")
    command.add_argument("--prompt", help="another recording of the speaker")
    add_models(command)


def run_continue(arguments: argparse.Namespace) -> int:
    """Write the recording and its continuation to --out."""
    settings = sampling(arguments)
    check_sound(arguments.out)
    check_not_read([Path(arguments.out)], [arguments.audio])
    synthesizer = load_synthesizer(arguments)
    result = synthesizer.continue_speech(
        synthesizer.read(arguments.audio),
        arguments.seconds,
        text=arguments.text,
        seed=arguments.seed,
        settings=settings,
        max_attempts=arguments.attempts,
    )
    result.save(arguments.out)
    print_report(described(result, arguments.out), as_json=arguments.json)
    return DONE


def run_score(arguments: argparse.Namespace) -> int:
    """Report the likelihood of every recording."""
    from tqdm import tqdm

    from slm.synthesis.synthesizer import MAX_ROWS

    synthesizer = load_synthesizer(arguments)
    # Read once for all recordings.
    prompt = None if arguments.prompt is None else synthesizer.read(arguments.prompt)
    report: dict[str, Any] = {}
    total = len(arguments.audio)
    with closing(tqdm(total=total, unit="recording", disable=None, file=sys.stderr)) as bar:
        for first in range(0, total, MAX_ROWS):
            paths = arguments.audio[first : first + MAX_ROWS]
            scores = _scored(synthesizer, paths, arguments.text, prompt)
            for path, score in zip(paths, scores, strict=True):
                report[_unused(path, report)] = _described(score, synthesizer.codec.frame_rate)
            bar.update(len(paths))
    print_report(report, as_json=arguments.json)
    return FAILED if any("error" in row for row in report.values()) else DONE


def _scored(
    synthesizer: Synthesizer, paths: Sequence[str], text: str | None, prompt: Any
) -> list[Score | str]:
    """Scores of recordings in one batch, or why there is none."""
    try:
        waveforms = [synthesizer.read(path) for path in paths]
        return list(synthesizer.score_batch(waveforms, texts=[text] * len(paths), prompt=prompt))
    except (ValueError, OSError) as error:
        # Nothing is left to try: the error is this recording's own.
        if len(paths) == 1:
            return [message_of(error)]
    # One of them fails: score each alone.
    return [_scored(synthesizer, [path], text, prompt)[0] for path in paths]


def _described(score: Score | str, frame_rate: float) -> dict[str, Any]:
    if isinstance(score, str):
        return {"error": score}
    return {
        "log_likelihood": score.log_likelihood,
        "log_likelihood_per_code": score.log_likelihood_per_code,
        "log_likelihood_per_second": score.log_likelihood_per_second(frame_rate),
        "num_codes": score.num_codes,
    }


def _unused(path: str, report: dict[str, Any]) -> str:
    """The name of a recording in the report; one that is given again is counted."""
    name, number = path, 1
    while name in report:
        number += 1
        name = f"{path} ({number})"
    return name
