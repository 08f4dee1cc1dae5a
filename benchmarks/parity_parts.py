"""The parts of a parity record: codes, speech and training runs as digests by name.

Stages of `recipes` and public names of the packages are called where possible, since those outlive
a re-structuring.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook

from codec import HHCodec
from codec.files import read_json
from codec.files.json_lines import read_json_lines
from recipes.run_all import main as run_all
from slm import GenerationSettings, Synthesis, Synthesizer
from slm.synthesis.long_text import join, speak_long

from .parity_inputs import (
    ALIGNED,
    CUTS,
    LONG_TEXT,
    RUNS,
    TEXTS,
    Workspace,
    open_workspace,
    place_alignments,
)

CODEC, LM = "hh-mini-24k", "hh-mini-slm"
# Figures that depend on the clock.
CLOCK = {"seconds", "first_batch_seconds", "hours_an_hour"}
CLOCK |= {"seconds_per_step", "tokens_per_second", "mfu"}
# Files of a run that its settings alone decide.
LEFT = ("prepare/*/*", "encode_corpus/*/*", "train_text/*.model", "train_text/*.alignment.jsonl")
LEFT += ("train_*/model/*", "*/metrics.json", "**/metrics.jsonl", "**/last.ckpt")
OF_CHECKPOINT = ("global_step", "state_dict", "optimizer_states", "average")
STEPS = "optimizer steps"  # name of the result that counts them


class CutOffError(Exception):
    """Ends a run in the middle of its training."""


def codec_part(space: Workspace) -> dict[str, str]:
    """Codes and decoded samples of every clip by the shipped codec."""
    codec = HHCodec.from_pretrained(CODEC)
    found: dict[str, str] = {}
    for number, clip in enumerate(space.clips):
        found[f"clip {number} input"] = digest(clip)
        found |= _coded(f"clip {number}", codec, clip)
    return found


def speech_part(space: Workspace) -> dict[str, str]:
    """Speech of the shipped models: every engine, and every method of `Synthesizer`."""
    synthesizer = Synthesizer.from_pretrained(CODEC, LM)
    voice = next(iter(synthesizer.voices))
    found: dict[str, str] = {}
    for engine, options in _engines().items():
        for way, temperature in (("greedy", 0.0), ("sampled", 0.4)):
            settings = GenerationSettings(temperature=temperature, top_p=0.8, **options)
            voices = [voice, None, voice, None]
            made = synthesizer.tts_batch(TEXTS, voices=voices, seeds=range(4), settings=settings)
            for number, each in enumerate(made):
                found |= _spoken(f"{engine}, {way}, text {number}", each)
    prompt = space.clips[-1]
    found |= _spoken("prompt", synthesizer.tts(TEXTS[1], prompt=prompt, seed=5))
    found |= _spoken("long", join(speak_long(synthesizer, LONG_TEXT, voice=voice, seed=7)))
    found |= _spoken("continuation", synthesizer.continue_speech(prompt, 1.5, seed=8))
    found |= _streamed("stream", synthesizer.stream(TEXTS[1], voice=voice, seed=6))
    return found | {"score": digest([*vars(synthesizer.score(prompt)).values()])}


def training_part(space: Workspace, run: str) -> dict[str, str]:
    """A run of `RUNS` from nothing to its end: figures, files, and results of its models."""
    return {**_run(space, run, f"runs/{run}"), **model_part(space, run)}


def model_part(space: Workspace, run: str) -> dict[str, str]:
    """Results of the models in a run's folder once they are loaded."""
    folder = space.folder / "runs" / run
    codec, lm = folder / "train_codec/model", folder / "train_slm/model"
    found = _coded("model codec", HHCodec.from_pretrained(codec), space.clips[0])
    if not lm.is_dir():
        return found
    synthesizer = Synthesizer.from_pretrained(codec, lm)
    text = "the fox jumps"
    found |= _spoken("model speech", synthesizer.tts(text, seed=1, max_attempts=2))
    return found | _streamed("model stream", synthesizer.stream(text, seed=2))


PARTS: dict[str, Callable[[Workspace], dict[str, str]]] = {
    "codec": codec_part,
    "speech": speech_part,
    **{run: partial(training_part, run=run) for run in RUNS},
}


def keep(space: Workspace, folder: Path) -> None:
    """Keep runs in `folder` for a later version to continue and to load.

    Args:
        space: In which every run was made.
        folder: Gets the corpus and the settings, the runs of `CUTS` half-finished under cut/, and
            the models of whole runs under runs/.
    """
    shutil.copytree(space.folder / "corpus", folder / "corpus")
    for run in RUNS:
        shutil.copy(space.folder / f"{run}.yaml", folder)
        for model in (space.folder / "runs" / run).glob("train_*/model"):
            shutil.copytree(model, folder / model.relative_to(space.folder))
    for name, cut in CUTS.items():
        with contextlib.suppress(CutOffError):
            _run(open_workspace(folder), cut.run, f"cut/{name}", last=cut.after)


def copy_kept(kept: Path, folder: Path) -> Workspace:
    """Copy the result of `keep` into `folder`, because continuing changes it.

    Raises:
        ValueError: It is not a result of `keep`.
    """
    if not (kept / "cut").is_dir():
        raise ValueError(f"expected a folder that `record --keep` left, got {kept}")
    shutil.copytree(kept, folder)
    return open_workspace(folder)


def continued_part(space: Workspace, cut: str) -> dict[str, str]:
    """A run of `CUTS` from its last checkpoint to its end: figures and files."""
    return _run(space, CUTS[cut].run, f"cut/{cut}")


def left(folder: Path) -> dict[str, str]:
    """Contents of a run's folder by path: figures as they are, the rest as digests."""
    found: dict[str, str] = {}
    for path in sorted({path for pattern in LEFT for path in folder.glob(pattern)}):
        name = path.relative_to(folder).as_posix()
        if path.name == "metrics.jsonl":
            for line in read_json_lines(path):
                place = f"{name} step {line.pop('step')} {line.pop('split', '')}".strip()
                found |= figures(place, line)
        elif path.suffix == ".yaml" or path.name == "metrics.json":
            # JSON is YAML, but its floats without a point would be read as texts.
            is_yaml = path.suffix == ".yaml"
            value = yaml.safe_load(path.read_text("utf-8")) if is_yaml else read_json(path)
            found |= figures(name, value)
        elif path.suffix == ".ckpt":
            # Written by Lightning, which adds its version and the state of its loops.
            state = torch.load(path, map_location="cpu", weights_only=True)
            found |= {f"{name} {key}": digest(state[key]) for key in OF_CHECKPOINT if key in state}
        elif path.suffix == ".safetensors":
            found[name] = digest(load_file(path))
        elif path.is_file():
            found[name] = digest(path.read_bytes())
    return found


def figures(name: str, values: Any) -> dict[str, str]:
    """Flatten nested JSON to texts by name; floats in hexadecimal, without figures of the clock."""
    if isinstance(values, dict):
        inner = [figures(f"{name} {key}", values[key]) for key in values if key not in CLOCK]
        return {key: value for part in inner for key, value in part.items()}
    return {name: values.hex() if isinstance(values, float) else json.dumps(values)}


def digest(value: Any) -> str:
    """SHA-256 of an array's or tensor's bytes, with its type and shape, or of a nest of values.

    The order of a list counts; that of a mapping's keys does not.
    """
    if isinstance(value, torch.Tensor):
        raw = value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        kind = str(value.dtype).removeprefix("torch.")
        return f"{hashlib.sha256(raw).hexdigest()} {kind} {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"{hashlib.sha256(value.tobytes()).hexdigest()} {value.dtype} {value.shape}"
    summed = hashlib.sha256()
    for part in [value] if isinstance(value, bytes) else _parts_of(value):
        summed.update(part)
    return summed.hexdigest()


def _parts_of(value: Any) -> Iterator[bytes]:
    """Bytes that differ for every other nest of values."""
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            yield f"key {key!r} {digest(value[key])}".encode()
    elif isinstance(value, list | tuple):
        yield from (f"item {digest(each)}".encode() for each in value)
    else:
        yield f"{type(value).__name__} {value!r}".encode()


def _engines() -> dict[str, dict[str, Any]]:
    """Settings by engine, of those that can run on this processor."""
    engines: dict[str, dict[str, Any]] = {
        "torch": {"engine": "torch"},
        "torch int8": {"engine": "torch", "weights": "int8"},
        "reference": {"use_cache": False},
    }
    if any(map(shutil.which, (os.environ.get("CXX") or "g++", "clang++"))):
        for weights in ("exact", "bf16", "int8"):
            engines[f"native {weights}"] = {"engine": "native", "weights": weights}
    return engines


def _coded(name: str, codec: HHCodec, clip: NDArray[np.float32]) -> dict[str, str]:
    """Digests of a clip's codes and of the samples decoded from them."""
    codes, _ = codec.encode(torch.from_numpy(clip)[None])
    samples, _ = codec.decode(codes)
    return {f"{name} codes": digest(codes), f"{name} samples": digest(samples)}


def _spoken(name: str, made: Synthesis) -> dict[str, str]:
    """Digests of codes and samples, the likelihood, and the reason of the end."""
    return {
        f"{name} codes": digest(made.codes),
        f"{name} samples": digest(made.waveform),
        f"{name} likelihood": float(made.log_likelihood).hex(),
        f"{name} end": f"{made.stopped}, seed {made.seed}",
    }


def _streamed(name: str, chunks: Iterator[NDArray[np.float32]]) -> dict[str, str]:
    """Sizes and samples of the chunks of a stream."""
    taken = list(chunks)
    sizes = json.dumps([len(chunk) for chunk in taken])
    return {f"{name} sizes": sizes, f"{name} samples": digest(np.concatenate(taken))}


def _run(space: Workspace, run: str, target: str, last: int | None = None) -> dict[str, str]:
    """Call the stages of a run, which skip finished work and resume unfinished work.

    Args:
        space: Has the corpus and the settings.
        run: Of `RUNS`.
        target: The run's folder, from the workspace's on.
        last: Optimizer step that ends it; None for its own end.

    Returns:
        `left` of its folder, and the number of its optimizer steps.

    Raises:
        CutOffError: The step `last` was made.
        RuntimeError: A stage failed; with the end of its output.
    """
    folder = space.folder / target
    if run == ALIGNED and not folder.exists():
        place_alignments(space, folder / "train_text")
    # The corpus's path is one of the settings that a run must not change: a relative one stays
    # the same when the workspace is copied.
    before, printed = Path.cwd(), io.StringIO()
    os.chdir(space.folder)
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            _optimizer_steps(last) as taken,
        ):
            status = run_all([f"{run}.yaml", f"run={target}"])
    finally:
        os.chdir(before)
    if status:
        raise RuntimeError(f"{run}: status {status}: {printed.getvalue()[-2000:]}")
    return left(folder) | {STEPS: str(len(taken))}


@contextlib.contextmanager
def _optimizer_steps(last: int | None) -> Iterator[list[None]]:
    """A list that grows by an entry an optimizer step, whose `last` one raises `CutOffError`."""
    taken: list[None] = []

    def count(*_: Any) -> None:
        taken.append(None)
        if len(taken) == last:
            raise CutOffError

    handle = register_optimizer_step_post_hook(count)
    try:
        yield taken
    finally:
        handle.remove()
