"""What the commands of `hh-slm` do."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from tqdm import tqdm

from slm.model.likelihood import Score
from slm.synthesis.synthesizer import MAX_ROWS, Synthesizer

from .options import Incomplete, check_sound
from .outcome import described, sampling
from .tts import run_tts

__all__ = ["run_bench", "run_continue", "run_score", "run_tts"]


def run_continue(arguments: argparse.Namespace) -> dict[str, Any]:
    """`hh-slm continue`."""
    settings = sampling(arguments)
    check_sound(arguments.out)
    synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
    result = synthesizer.continue_speech(
        synthesizer.read(arguments.audio),
        arguments.seconds,
        text=arguments.text,
        seed=arguments.seed,
        settings=settings,
        max_attempts=arguments.attempts,
    )
    result.save(arguments.out)
    return described(result, arguments.out)


def run_score(arguments: argparse.Namespace) -> dict[str, Any]:
    """`hh-slm score`: what cannot be scored is in the report with its error.

    Raises:
        Incomplete: There is such a recording.
    """
    synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
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
    if any("error" in row for row in report.values()):
        raise Incomplete(report)
    return report


def _scored(
    synthesizer: Synthesizer, paths: Sequence[str], text: str | None, prompt: Any
) -> list[Score | str]:
    """Scores of recordings in one batch, or why there is none."""
    try:
        waveforms = [synthesizer.read(path) for path in paths]
        return list(synthesizer.score_batch(waveforms, texts=[text] * len(paths), prompt=prompt))
    except (ValueError, OSError) as error:
        if len(paths) == 1:
            return [str(error)]
    # one of them; find out which
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


def run_bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """`hh-slm bench generate` and `hh-slm bench train`."""
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.what == "train":
        from slm.bench.training import bench_training

        return bench_training(
            arguments.size,
            row_tokens=arguments.row_tokens,
            rows=arguments.rows,
            rounds=arguments.rounds,
            device=arguments.device,
            bf16=arguments.bf16,
            compile=arguments.compile,
        )
    from slm.bench.generation import bench_generation

    return bench_generation(
        arguments.size,
        new_tokens=arguments.new_tokens,
        rounds=arguments.rounds,
        batch_size=arguments.batch_size,
        only=arguments.only or (),
        memory=arguments.memory,
        device=arguments.device,
    )
