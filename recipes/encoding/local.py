"""Encoding of batches, as every engine does it, and the engine of this machine alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from codec import HHCodec
from codec.audio.pcm import as_waveform
from codec.runtime.answers import worker_number
from codec.runtime.workers import DEADLY, WorkerDied, Workers
from codec.streaming.long_form import WINDOW, encode_clip

from .plan import Batch, Coded, Sound, clips_of, joined, read_batch, without


def encode_batch(
    codec: HHCodec, sound: Sound, may_try: Callable[[int], bool] | None = None
) -> Coded:
    """Encode the clips of a batch that could be read.

    Args:
        codec: In eval mode.
        sound: The samples.
        may_try: Called before each clip with its index in the batch, where clips are to be encoded
            one by one; a clip is left out where it returns False.
    """
    waveforms = {
        index: as_waveform(each) for index, each in enumerate(sound.samples) if each is not None
    }
    reasons = list(sound.reasons)
    codes: dict[int, NDArray[np.uint16]] = {}
    if may_try is None:
        found = encode_waveforms(codec, list(waveforms.values()))
        codes = dict(zip(waveforms, found, strict=True))
    else:
        for index, waveform in waveforms.items():
            if may_try(index):
                (codes[index],) = encode_waveforms(codec, [waveform])
            else:
                reasons[index] = DEADLY
    clips = range(len(sound.samples))
    return Coded(
        sound.batch,
        tuple(codes.get(index) for index in clips),
        tuple(len(waveforms[index]) if index in codes else 0 for index in clips),
        tuple(reasons),
    )


def encode_waveforms(
    codec: HHCodec, waveforms: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.uint16]]:
    """Encode clips, with the codes that `encode_clip` gives for each.

    Args:
        codec: In eval mode.
        waveforms: (T,) at the codec's rate.

    Returns:
        (L,) uint16 of each, L = ceil(T / hop_length).
    """
    codes: dict[int, NDArray[np.uint16]] = {}
    most = WINDOW * codec.hop_length
    short = [index for index, waveform in enumerate(waveforms) if len(waveform) <= most]
    # Those that fit into one window go through the codec as one padded batch (B, T).
    if short:
        lengths = torch.tensor([len(waveforms[index]) for index in short])
        padded = torch.zeros(len(short), int(lengths.max()))
        for row, index in enumerate(short):
            padded[row, : lengths[row]] = torch.from_numpy(waveforms[index])
        device = next(codec.parameters()).device
        found, counts = codec.encode(padded.to(device), lengths)
        rows = found.cpu().numpy().astype(np.uint16)
        codes = {index: rows[row, : counts[row]] for row, index in enumerate(short)}
    # Longer ones are encoded window by window.
    for index in set(range(len(waveforms))) - set(short):
        codes[index] = encode_clip(codec, waveforms[index])
    return [codes[index] for index in range(len(waveforms))]


def choose_device(wanted: str, gpus: float) -> str:
    """Choose `cuda` or `cpu`: as wanted, or for `auto` a GPU where there is one.

    Raises:
        ValueError: A GPU is wanted and there is none.
    """
    if wanted == "cuda" and not gpus:
        raise ValueError("encode_corpus.device: expected a GPU for cuda, found none")
    return ("cuda" if gpus else "cpu") if wanted == "auto" else wanted


def own_device(device: str, number: int, gpus: int) -> str:
    """The device of worker `number`: of `cuda` each worker has one of the GPUs, in turns."""
    return f"cuda:{number % gpus}" if device == "cuda" and gpus else device


def move_codec(codec: HHCodec, device: str) -> HHCodec:
    """Move a codec to its device, in a process of one thread."""
    torch.set_num_threads(1)
    return codec.to(device)


def encode_locally(
    batches: Sequence[Batch], source: str, device: str, workers: int, note: Path
) -> Generator[Coded, None, None]:
    """Encode batches in their order by processes of this machine.

    A clip that ends the process that works on it is left out. Where that is this process, the next
    run does so: it finds the name of the last batch in `note`.

    Args:
        batches: To encode.
        source: Folder of the codec.
        device: `cpu`, or `cuda` for the GPUs of this machine, which the workers share out.
        workers: Processes; 1 works in this one.
        note: File for the name of the batch that this process works on, while it does.
    """
    work = functools.partial(_work, source=source, device=device)
    with Workers(workers if workers > 1 else 0, spare_few=True) as pool:
        # After a death: the batch once more, each clip in a process that may die of it.
        clip_by_clip = functools.partial(_clip_by_clip, work=work, pool=pool)
        if not pool.works_here(len(batches)):
            yield from pool.map(work, batches, deadly=clip_by_clip)
            return
        # Few batches are done in this process. A note that is there was left by one that died.
        fatal = note.read_text(encoding="utf-8") if note.is_file() else ""
        try:
            for batch in batches:
                if batch.name == fatal:
                    coded = clip_by_clip(batch)
                else:
                    note.write_text(batch.name, encoding="utf-8")
                    coded = work(batch)
                yield coded
        finally:
            note.unlink(missing_ok=True)
            _loaded.cache_clear()  # the stages that follow have models of their own


def _clip_by_clip(batch: Batch, *, work: Callable[[Batch], Coded], pool: Workers) -> Coded:
    """A batch on which a process died, without the clips that do that by themselves."""
    parts = []
    for clip in clips_of(batch):
        try:
            parts.append(pool.alone(work, clip))
        except WorkerDied:
            parts.append(without(clip, DEADLY))
    return joined(batch, parts)


def _work(batch: Batch, source: str, device: str) -> Coded:
    """Read and encode in one process."""
    return encode_batch(_loaded(source, device), read_batch(batch))


@functools.lru_cache(maxsize=1)
def _loaded(source: str, device: str) -> HHCodec:
    """The codec of a process, loaded once."""
    device = own_device(device, worker_number(), torch.cuda.device_count())
    return move_codec(HHCodec.from_pretrained(source), device)
