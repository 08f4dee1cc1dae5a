"""Speaker prompts: the stretch of a recording that a voice is taken from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codec.activity import speech_stretch
from codec.speech_level import FramePowers

# Of a prompt's wanted samples; a stretch with less is taken only where there is no better one.
_ENOUGH_SPEECH = 0.6
# Mean square of a frame, at most: -100 dB, below what 16 bits hold.
_DIGITAL_SILENCE = 1e-10

# Samples [first, first + count) of a recording, (count,) float32 at the codec's rate.
Read = Callable[[int, int], NDArray[np.float32]]


def voice_samples(
    read: Read, num_samples: int, sample_rate: int, *, wanted: int, most: int
) -> NDArray[np.float32]:
    """Find speech in a recording and read it, with what follows as context of its codes.

    Silence, room noise and clicks before it are passed over, however long they last; no more than
    `most` samples are held at once.

    Args:
        read: Gives any part of the recording.
        num_samples: Length of the recording.
        sample_rate: Hz.
        wanted: Samples that are used in the end.
        most: Samples that are read at a time and returned, at most.

    Returns:
        (T,), T <= most: from the start of the speech on. Where the speech ends within the wanted
        samples, they end with it.

    Raises:
        ValueError: The recording is digital silence.
    """
    # 1. Look through the recording part by part, until there is enough speech.
    best, chosen, is_silent = -1.0, (0, num_samples), True
    for first in range(0, num_samples, most):
        part = read(first, min(most, num_samples - first))
        meter = FramePowers(sample_rate)
        meter.push(part)
        powers, _ = meter.powers()
        is_silent = is_silent and not powers.any()
        start, stop, share = speech_stretch(powers, max(1, wanted // meter.frame))
        if share > best:
            ends_early = stop < min(start + wanted // meter.frame, len(powers))
            # Digital silence, which no room has, is no context of speech.
            sounding = int((powers[start:stop] > _DIGITAL_SILENCE).argmax())
            begin = first + (start + sounding) * meter.frame
            end = first + stop * meter.frame if ends_early else begin + most
            best, chosen = share, (begin, min(end, num_samples))
        if best >= _ENOUGH_SPEECH:
            break
    if is_silent:
        raise ValueError("expected speech in the prompt, got digital silence")
    # 2. Read it.
    return read(chosen[0], chosen[1] - chosen[0])
