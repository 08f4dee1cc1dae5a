"""Batches of clips to codes: what every engine does, and the engine of this machine alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from codec import HHCodec
from codec.audio.store import as_waveform
from codec.streaming.long_form import WINDOW, encode_clip
from recipes.runner.workers import DEADLY, Workers

from .plan import Batch, Coded, Sound, clips_of, joined, read_batch, without


def encode_batch(
    codec: HHCodec, sound: Sound, may_try: Callable[[int], bool] | None = None
) -> Coded:
    """Encode what could be read of a batch.

    Args:
        codec: in eval mode.
        sound: what was read.
        may_try: asked before each clip, by its place in the batch, and then they are encoded one
            by one; those that may not are left out.
    """
    waveforms = {
        place: as_waveform(each) for place, each in enumerate(sound.samples) if each is not None
    }
    reasons = list(sound.reasons)
    codes: dict[int, NDArray[np.uint16]] = {}
    if may_try is None:
        found = encode_waveforms(codec, list(waveforms.values()))
        codes = dict(zip(waveforms, found, strict=True))
    else:
        for place, waveform in waveforms.items():
            if may_try(place):
                (codes[place],) = encode_waveforms(codec, [waveform])
            else:
                reasons[place] = DEADLY
    places = range(len(sound.samples))
    return Coded(
        sound.batch,
        tuple(codes.get(place) for place in places),
        tuple(len(waveforms[place]) if place in codes else 0 for place in places),
        tuple(reasons),
    )


def encode_waveforms(
    codec: HHCodec, waveforms: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.uint16]]:
    """Codes of clips, each as `encode_clip` has them; on a GPU those of one length go together.

    Args:
        codec: in eval mode.
        waveforms: (T,) at the codec's rate.

    Returns:
        (ceil(T / hop_length),) uint16 of each.
    """
    codes: dict[int, NDArray[np.uint16]] = {}
    most = WINDOW * codec.hop_length
    short = [index for index, waveform in enumerate(waveforms) if len(waveform) <= most]
    if short:
        lengths = torch.tensor([len(waveforms[index]) for index in short])
        padded = torch.zeros(len(short), int(lengths.max()))
        for row, index in enumerate(short):
            padded[row, : lengths[row]] = torch.from_numpy(waveforms[index])
        device = next(codec.parameters()).device
        found, counts = codec.encode(padded.to(device), lengths)
        rows = found.cpu().numpy().astype(np.uint16)
        codes = {index: rows[row, : counts[row]] for row, index in enumerate(short)}
    for index in set(range(len(waveforms))) - set(short):
        codes[index] = encode_clip(codec, waveforms[index])
    return [codes[index] for index in range(len(waveforms))]


def choose_device(wanted: str, gpus: float) -> str:
    """`cuda` or `cpu`: what is wanted, or for `auto` a GPU where there is one.

    Raises:
        ValueError: A GPU is wanted and there is none.
    """
    if wanted == "cuda" and not gpus:
        raise ValueError("encode_corpus.device: expected a GPU for cuda, found none")
    return ("cuda" if gpus else "cpu") if wanted == "auto" else wanted


def settled(codec: HHCodec, device: str) -> HHCodec:
    """A codec on its device, in a process that works alone: one thread, products in float32."""
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return codec.to(device)


def encode_locally(
    batches: Sequence[Batch], source: str, device: str, workers: int, note: Path
) -> Generator[Coded, None, None]:
    """Batches in their order, by processes of this machine.

    A clip that ends the process that works on it is left out. Where that is this process, the next
    run does so: it finds in `note` which batch was the last one.

    Args:
        batches: What to encode.
        source: Folder of the codec.
        device: `cpu` or `cuda`.
        workers: Processes; 1 works in this one.
        note: File for the name of the batch that this process works on, while it does.
    """
    work = functools.partial(_work, source=source, device=device)
    with Workers(workers) as pool:
        clip_by_clip = functools.partial(_clip_by_clip, work=work, pool=pool)
        if not pool.works_here(len(batches)):
            yield from pool.map(work, batches, "encode", deadly=clip_by_clip)
            return
        fatal = note.read_text(encoding="utf-8") if note.is_file() else ""

        def noted(batch: Batch) -> Coded:
            if batch.name == fatal:
                return clip_by_clip(batch)
            note.write_text(batch.name, encoding="utf-8")
            return work(batch)

        try:
            yield from pool.map(noted, batches, "encode")
        finally:
            note.unlink(missing_ok=True)


def _clip_by_clip(batch: Batch, *, work: Callable[[Batch], Coded], pool: Workers) -> Coded:
    """A batch on which a process died, without the clips that do that by themselves."""
    parts = []
    for clip in clips_of(batch):
        try:
            parts.append(pool.alone(work, clip))
        except BrokenProcessPool:
            parts.append(without(clip, DEADLY))
    return joined(batch, parts)


def _work(batch: Batch, source: str, device: str) -> Coded:
    """Read and encode in one process."""
    return encode_batch(_loaded(source, device), read_batch(batch))


@functools.lru_cache(maxsize=1)
def _loaded(source: str, device: str) -> HHCodec:
    """The codec of a process, loaded once."""
    return settled(HHCodec.from_pretrained(source), device)
