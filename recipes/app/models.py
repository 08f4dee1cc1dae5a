"""Models of a page, loaded when it starts: a visitor chooses among their names alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from codec import HHCodec
from codec.devices import usable_device
from slm import SpeechLM, Synthesizer
from slm.model.speech_lm import pretrained_folder
from slm.synthesis.voices import default_voice, load_voices
from slm.text.tokenizer import load_tokenizer


@dataclass(frozen=True)
class Models:
    """Codecs and language models by the names they were given by.

    Attributes:
        codecs: One or more.
        synthesizers: One or more, each of a language model and the codec it belongs to.
        default_voices: Name of a voice, or None, by the name of its language model.
    """

    codecs: Mapping[str, HHCodec]
    synthesizers: Mapping[str, Synthesizer]
    default_voices: Mapping[str, str | None] = field(default_factory=dict)


def load_models(codecs: Sequence[str], lms: Sequence[str], device: str = "cpu") -> Models:
    """Load codecs and language models; every language model takes the codec it was trained with.

    Args:
        codecs: Folders, bundled names or hub repositories.
        lms: The same.
        device: Of all.

    Raises:
        ValueError: A model is missing, no codec belongs to a language model, or no such device.
    """
    place = usable_device(device)
    loaded = {name: HHCodec.from_pretrained(name).to(place).eval() for name in codecs}
    synthesizers, voices = {}, {}
    for name in lms:
        folder = pretrained_folder(name)
        lm = SpeechLM.from_pretrained(folder)
        wanted = lm.config.codec_fingerprint
        fitting = [each for each in loaded.values() if wanted in each.code_fingerprints]
        if not fitting:
            raise ValueError(
                f"expected codec {wanted}, which {name} was trained with, got "
                f"{', '.join(codecs)}; name it by --codec, too"
            )
        found = load_voices(folder, wanted)
        made = Synthesizer(fitting[0], lm, load_tokenizer(folder), found)
        synthesizers[name], voices[name] = made.to(place), default_voice(folder)
    return Models(loaded, synthesizers, voices)
