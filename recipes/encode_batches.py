"""Batches of clips to codes: what every engine does, and the engine of this machine alone."""

from __future__ import annotations

import functools
from collections.abc import Generator, Sequence
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import torch
from numpy.typing import NDArray

from codec import HHCodec
from codec.chunking import WINDOW, encode_clip
from codec.store import as_waveform

from .encode_plan import Batch, Coded, Sound, read_batch
from .workers import Workers


def encode_batch(codec: HHCodec, sound: Sound) -> Coded:
    """Encode what could be read of a batch."""
    readable = [index for index, each in enumerate(sound.samples) if each is not None]
    waveforms = [as_waveform(each) for each in sound.samples if each is not None]
    codes = dict(zip(readable, encode_waveforms(codec, waveforms), strict=True))
    return Coded(
        sound.batch,
        tuple(codes.get(index) for index in range(len(sound.samples))),
        tuple(0 if each is None else len(each) for each in sound.samples),
        sound.reasons,
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
    batches: Sequence[Batch], source: str, device: str, workers: int
) -> Generator[Coded, None, None]:
    """Batches in their order, by processes of this machine.

    Args:
        batches: What to encode.
        source: Folder of the codec.
        device: `cpu` or `cuda`.
        workers: Processes; 1 works in this one.

    Raises:
        OSError: A worker process died.
    """
    work = functools.partial(_work, source=source, device=device)
    try:
        with Workers(workers) as pool:
            yield from pool.map(work, batches, "encode")
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process died, perhaps for want of memory: use fewer "
            "encode_corpus.workers; the same command goes on after the finished shards"
        ) from error


def _work(batch: Batch, source: str, device: str) -> Coded:
    """Read and encode in one process."""
    return encode_batch(_loaded(source, device), read_batch(batch))


@functools.lru_cache(maxsize=1)
def _loaded(source: str, device: str) -> HHCodec:
    """The codec of a process, loaded once."""
    return settled(HHCodec.from_pretrained(source), device)
