"""Checks of a phase against its codec, readable without torch: all phases before the first one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from codec.checks import require
from codec.distillation.config import PHONES
from codec.model.config import WHISPER_MEL, CodecConfig

from .config import PhaseConfig

# A name on the hub, owner and repository.
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def check_phase(codec: CodecConfig, phase: PhaseConfig) -> None:
    """Refuse a phase that a codec of this config cannot be trained in.

    Raises:
        ValueError: A part that trains and no loss reaches, losses of a vocoder, of mels or of
            crops that this codec has not, or a model that is not where the phase says.
    """
    name, weights = f"phase {phase.name}", phase.weights
    idle = unreached_parts(phase)
    expected = "parts that a loss with a weight above 0 reaches"
    require(not idle, f"{name}: train", expected, ", ".join(idle))
    kind = codec.vocoder.kind
    tracked = kind == "harmonic" or weights.pitch <= 0
    require(tracked, name, "a harmonic vocoder for weights.pitch > 0", kind)
    bands, most = phase.discriminators.mel_bands, codec.mel.n_mels
    fits = not phase.uses_mel_discriminators or bands <= most
    require(fits, f"{name}: discriminators.mel_bands", f"1..{most}", bands)
    got = (codec.mel.sample_rate, codec.mel.n_fft, codec.mel.n_mels, codec.mel.filters)
    fits = not phase.uses_perceptual or got == WHISPER_MEL
    expected = f"mels of {WHISPER_MEL} (sample rate, n_fft, n_mels, filters)"
    require(fits, f"{name}: perceptual", expected, got)
    _check_crops(codec, phase)
    for problem in missing_models(phase):
        raise ValueError(f"{name}: {problem}")


def unreached_parts(phase: PhaseConfig) -> list[str]:
    """Find the parts that a phase trains and that get a gradient from none of its losses."""
    weights, decoded = phase.weights, phase.vocoder_input == "decoded"
    waveform = max(weights.waveform_mel, weights.waveform_perceptual, weights.pitch) > 0
    waveform |= phase.uses_discriminators
    mel = max(weights.mel, weights.perceptual, weights.recognition) > 0
    mel |= phase.uses_mel_discriminators | (decoded and waveform)
    codes = mel | (max(weights.semantic, weights.vq) > 0)
    reached = {"encoder": codes, "quantizer": codes, "decoder": mel, "vocoder": waveform}
    return [part for part in phase.train if not reached[part]]


def missing_models(phase: PhaseConfig) -> Iterator[str]:
    """Yield what is wrong with the folders of a phase's teacher and recogniser, in words."""
    model, teacher = phase.perceptual.model, phase.semantic.teacher
    if phase.uses_perceptual and not (Path(model) / "config.json").is_file():
        yield (
            "perceptual.model: expected a folder of a Whisper in the transformers layout, got "
            f"{model!r} without a config.json"
        )
    for path in phase.semantic.alignments if phase.weights.semantic > 0 else ():
        if not Path(path).is_file():
            yield f"semantic.alignments: expected a file at {path!r}, found none"
    named = teacher in ("mfcc", PHONES) or (Path(teacher) / "config.json").is_file()
    # What may be a name on the hub is looked for there, by the teacher itself.
    named |= not Path(teacher).is_dir() and _HUB_NAME.fullmatch(teacher) is not None
    if phase.weights.semantic > 0 and not named:
        yield (
            "semantic.teacher: expected mfcc, phones, a folder of a HuBERT or Whisper in the "
            f"transformers layout or a name on the hub, got {teacher!r} without a config.json"
        )


def _check_crops(codec: CodecConfig, phase: PhaseConfig) -> None:
    """Refuse crops that are shorter than half a window of a discriminator, which mirrors them."""
    sizes = phase.discriminators
    longest = max((*sizes.n_ffts, *sizes.band_n_ffts), default=0)
    if not phase.uses_discriminators or phase.crop_codes * codec.hop_length > longest // 2:
        return
    least = longest // 2 // codec.hop_length + 1
    field = f"phase {phase.name}: crop_codes"
    require(False, field, f"{least} or more for windows of {longest} samples", phase.crop_codes)
