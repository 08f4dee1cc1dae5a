"""What the commands of `hh-slm` do."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .config import GenerationSettings, SpeechLMConfig
from .jobs import Job, read_jobs
from .model import pretrained_folder
from .normalization import spoken_form
from .ranking import Ranking, load_verifier
from .speech import join, speak_best, speak_long
from .synthesis import Synthesizer
from .utterance import Synthesis
from .voices import default_voice


def run_tts(arguments: argparse.Namespace) -> dict[str, Any]:
    """`hh-slm tts`: one text to --out, or a file of texts to the folder --out."""
    _settings(arguments)  # what cannot be is found before anything is loaded
    verifiers = dict(map(load_verifier, arguments.verifier or ["likelihood"]))
    jobs = _jobs(arguments)
    if arguments.long and arguments.best_of > 1:
        raise ValueError("expected --long or --best-of, got both")
    if arguments.long and any(job.prompt_text for job in jobs):
        raise ValueError("expected --long without a transcript of the prompt, got one")
    synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
    settings = _settings(arguments, synthesizer.lm.config)
    if arguments.prompt is None and arguments.voice is None:
        arguments.voice = default_voice(pretrained_folder(arguments.lm))
    if arguments.file is None:
        result, ranking = _spoken(synthesizer, jobs[0], arguments, settings, verifiers)
        return _written(result, arguments.out, ranking)
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    targets = {job.id: folder / f"{job.id}.{arguments.format}" for job in jobs}
    waiting = [j for j in jobs if not (arguments.resume and targets[j.id].exists())]
    items: dict[str, Any] = {}
    for job in tqdm(waiting, unit="text", disable=None, file=sys.stderr):
        result, ranking = _spoken(synthesizer, job, arguments, settings, verifiers)
        items[job.id] = _written(result, str(targets[job.id]), ranking)
    return {
        "spoken": len(items),
        "already_there": len(jobs) - len(waiting),
        "runaway": sum(item["truncated"] for item in items.values()),
        "rejected_attempts": sum(len(item["rejected"]) for item in items.values()),
        "items": items,
    }


def run_continue(arguments: argparse.Namespace) -> dict[str, Any]:
    """`hh-slm continue`."""
    settings = _settings(arguments)
    synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
    result = synthesizer.continue_speech(
        synthesizer.read(arguments.audio),
        arguments.seconds,
        text=arguments.text,
        seed=arguments.seed,
        settings=settings,
    )
    return _written(result, arguments.out)


def run_score(arguments: argparse.Namespace) -> dict[str, Any]:
    """`hh-slm score`."""
    synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
    prompt = None if arguments.prompt is None else synthesizer.read(arguments.prompt)
    report = {}
    for path in tqdm(arguments.audio, unit="recording", disable=None, file=sys.stderr):
        score = synthesizer.score(synthesizer.read(path), text=arguments.text, prompt=prompt)
        report[path] = {
            "log_likelihood": score.log_likelihood,
            "log_likelihood_per_code": score.log_likelihood_per_code,
            "log_likelihood_per_second": score.log_likelihood_per_second(
                synthesizer.codec.frame_rate
            ),
            "num_codes": score.num_codes,
        }
    return report


def run_bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """`hh-slm bench generate` and `hh-slm bench train`."""
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.what == "train":
        from .bench_training import bench_training

        return bench_training(
            arguments.size,
            row_tokens=arguments.row_tokens,
            rows=arguments.rows,
            rounds=arguments.rounds,
            device=arguments.device,
            bf16=arguments.bf16,
            compile=arguments.compile,
        )
    from .bench_generation import bench_generation

    return bench_generation(
        arguments.size,
        new_tokens=arguments.new_tokens,
        rounds=arguments.rounds,
        batch_size=arguments.batch_size,
        only=arguments.only or (),
        memory=arguments.memory,
        device=arguments.device,
    )


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    """The texts of the command line or of the file, as they are to be said."""
    if (arguments.text is None) == (arguments.file is None):
        raise ValueError("expected a text or --file, got both or neither")
    jobs = [Job("", arguments.text)] if arguments.file is None else read_jobs(arguments.file)
    if not arguments.normalize:
        return jobs
    return [Job(**{**vars(job), "text": spoken_form(job.text)}) for job in jobs]


def _spoken(
    synthesizer: Synthesizer,
    job: Job,
    arguments: argparse.Namespace,
    settings: GenerationSettings,
    verifiers: dict[str, Any],
) -> tuple[Synthesis, Ranking | None]:
    unknown = synthesizer.tokenizer.unknown_characters(job.text)
    if unknown:
        print(f"hh-slm tts: the text model never saw {unknown!r}", file=sys.stderr)
    path = job.prompt if job.prompt is not None or job.voice is not None else arguments.prompt
    voice = job.voice if job.prompt is not None or job.voice is not None else arguments.voice
    request: dict[str, Any] = {
        "prompt": None if path is None else synthesizer.read(path),
        "voice": voice,
        "seed": arguments.seed if job.seed is None else job.seed,
        "settings": settings,
        "max_attempts": arguments.attempts,
    }
    if arguments.long:
        return join(speak_long(synthesizer, job.text, **request)), None
    request["prompt_text"] = job.prompt_text or arguments.prompt_text
    best = speak_best(synthesizer, job.text, arguments.best_of, verifiers, **request)
    return best.best, best.ranking if arguments.best_of > 1 else None


def _settings(
    arguments: argparse.Namespace, config: SpeechLMConfig | None = None
) -> GenerationSettings:
    """What was asked for, else as suits the model."""
    own = GenerationSettings() if config is None else config.sampling
    return GenerationSettings(
        temperature=own.temperature if arguments.temperature is None else arguments.temperature,
        top_k=arguments.top_k,
        top_p=own.top_p if arguments.top_p is None else arguments.top_p,
        min_p=arguments.min_p,
        repetition_window=arguments.repetition_window,
        guidance=arguments.guidance,
        weights=arguments.weights,
        engine=arguments.engine,
    )


def _written(result: Synthesis, path: str, ranking: Ranking | None = None) -> dict[str, Any]:
    result.save(path)
    report: dict[str, Any] = {
        "out": path,
        "duration": result.duration,
        "num_codes": len(result.codes),
        "num_given_codes": result.num_given_codes,
        "truncated": result.truncated,
        "stopped": result.stopped,
        "rejected": _listed(result.rejected),
        "log_likelihood": result.log_likelihood,
        "seed": result.seed,
    }
    if ranking is not None:
        report["choice"] = ranking.choice
        report["scores"] = {name: _listed(scores) for name, scores in ranking.scores.items()}
    return report


def _listed(values: Sequence[Any]) -> list[Any]:
    return list(values)
