"""The models of a synthesizer: codec, language model, text model and voices, as one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from codec import HHCodec
from codec.audio import read_audio
from codec.devices import usable_device
from codec.files import replaced_files
from codec.hub import HubOptions
from slm.generation.stopping import StopRules, silence_codes
from slm.model.config import SpeechLMConfig
from slm.model.model_folder import BUNDLED, CONFIG, WEIGHTS
from slm.model.speech_lm import SpeechLM, pretrained_folder
from slm.text.tokenizer import Tokenizer, load_tokenizer

from .recordings import Recording, as_recording
from .voices import default_voice, load_voices, save_voices

if TYPE_CHECKING:
    from typing_extensions import Self

# Folders of a stored synthesizer.
CODEC, LM = "codec", "lm"
# Codecs that come with the packages, the newest first, with the names of their codes: which is a
# language model's is known without loading one.
SHIPPED_CODECS = {
    "hh-mini-24k-v2": ("fd39266381d100fb", "ab37cd66b6745303", "dd7ba297620260cd"),
    "hh-mini-24k": ("943b47e472360fab", "b16fb863be999b85", "648bddcc4cecf0c9"),
}


def shipped_codec_of(lm: Path | str, hub: HubOptions | None = None) -> str:
    """Name of the codec that comes with the packages and has the codes of a language model.

    Args:
        lm: Folder, name or hub repository of the language model.
        hub: Of a download.

    Raises:
        ValueError: No such model, or none of the shipped codecs is that of its codes.
    """
    _check_no_codec(lm)
    wanted = SpeechLMConfig.load(pretrained_folder(lm, hub) / CONFIG).codec_fingerprint
    for name, names_of_codes in SHIPPED_CODECS.items():
        if wanted in names_of_codes:
            return name
    raise ValueError(
        f"expected a codec for {lm}, which generates the codes of codec {wanted}, got none: "
        f"{' and '.join(SHIPPED_CODECS)} have others"
    )


class SpeechModels:
    """A codec and a language model of its codes, with the text model and voices of that.

    Args:
        codec: In eval mode.
        lm: A language model of this codec's codes.
        tokenizer: The text model the language model was trained with.
        voices: Prompts by name, (L,) codes each.

    Raises:
        ValueError: The three do not belong together.
    """

    def __init__(
        self,
        codec: HHCodec,
        lm: SpeechLM,
        tokenizer: Tokenizer,
        voices: Mapping[str, NDArray[np.int64]] | None = None,
    ) -> None:
        codec.config.voice.refuse("speech from a language model, which generates none")
        if not codec.has_codes_of(lm.config.codec_fingerprint):
            raise ValueError(
                f"expected codec {lm.config.codec_fingerprint}, whose codes this language model "
                f"generates, got codec {codec.code_fingerprint}; load the codec it was trained with"
            )
        check_text_model(lm, tokenizer)
        self.codec = codec.eval()
        self.lm = lm.eval()
        self.tokenizer = tokenizer
        self.voices = dict(voices or {})
        # Of the command line, for texts that ask for none; kept with the voices.
        self._default_voice: str | None = None

    @classmethod
    def from_pretrained(
        cls,
        codec: Path | str | None = None,
        lm: Path | str | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **hub: Any,
    ) -> Self:
        """Load a codec and a language model, with the text model and voices of that.

        Args:
            codec: Folder, name or hub repository of the codec; None takes the shipped one of the
                language model's codes. With no `lm`, a folder of `save_pretrained`.
            lm: Folder, name or hub repository of the language model.
            device: Such as "cuda"; "auto" is a GPU where there is one; None is the CPU.
            dtype: Of the language model's weights and of decoding.
            hub: `token`, `cache_dir` and `local_files_only` of both `from_pretrained`; a revision
                belongs to one repository: load the models by themselves for it.

        Raises:
            ValueError: A model is missing, or the two do not belong together.
        """
        if lm is None:
            if codec is None:
                raise ValueError("expected a codec and a language model, got neither")
            given, codec, lm = codec, Path(codec) / CODEC, Path(codec) / LM
            if not (codec.is_dir() and lm.is_dir()):
                raise ValueError(
                    f"expected a folder of Synthesizer.save_pretrained, got {_described(given)}"
                )
        _check_no_codec(lm)
        codec = shipped_codec_of(lm, HubOptions(**hub)) if codec is None else codec
        options: dict[str, Any] = {"device": device, "dtype": dtype, **hub}
        model = SpeechLM.from_pretrained(lm, **options)
        folder = pretrained_folder(lm, HubOptions(**hub))
        voices = load_voices(folder, model.config.codec_fingerprint)
        tokenizer = load_tokenizer(folder)
        made = cls(HHCodec.from_pretrained(codec, **options), model, tokenizer, voices)
        made._default_voice = default_voice(folder)
        return made

    def save_pretrained(self, folder: Path | str) -> None:
        """Write codec, language model, text model and voices, for `from_pretrained(folder)`."""
        default = self._default_voice if self._default_voice in self.voices else None
        # A language model without weights is refused, so that no two savings are mixed.
        with replaced_files(folder, f"{LM}/{WEIGHTS}") as partial:
            self.codec.save_pretrained(partial / CODEC)
            self.lm.save_pretrained(partial / LM, self.tokenizer)
            save_voices(partial / LM, self.voices, self.lm.config.codec_fingerprint, default)

    def to(self, device: torch.device | str) -> Self:
        """Move codec and language model to a device, such as "cuda", and return self.

        What goes in and comes out stays in arrays on the CPU.

        Raises:
            ValueError: No such device here.
        """
        place = usable_device(str(device))
        self.codec.to(place)
        self.lm.to(place)
        return self

    def read(self, path: Path | str) -> NDArray[np.float32]:
        """A recording as a (T,) waveform at the codec's rate."""
        return read_audio(path, self.codec.sample_rate)

    def waveform(self, recording: Recording) -> NDArray[np.float32]:
        """All of a recording as (T,) at the codec's rate; see `as_recording`."""
        found = as_recording(recording, self.codec.sample_rate)
        return self.read(found) if isinstance(found, Path) else found

    def encode(self, waveform: NDArray[np.float32]) -> NDArray[np.int64]:
        """Codes (L,) of a waveform (T,), L = ceil(T / hop_length)."""
        codes, _ = self.codec.encode(waveform)  # (1, L)
        return codes[0].cpu().numpy()

    def decode(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Waveform (L * hop_length,) of codes (L,)."""
        waveform, _ = self.codec.decode(codes)  # (1, L * hop_length)
        return waveform[0].cpu().numpy()

    @cached_property
    def stop_rules(self) -> StopRules:
        """Rules that end runaway speech; the codec's codes of silence are found at first use."""
        return StopRules(silence_codes(self.encode, self.codec.sample_rate))

    @cached_property
    def silence_code(self) -> NDArray[np.int64]:
        """(1,) the code of lasting digital silence."""
        codes = self.encode(np.zeros(self.codec.sample_rate, dtype=np.float32))
        return codes[len(codes) // 2 :][:1]


def _check_no_codec(lm: Path | str) -> None:
    """Raise `ValueError` for a shipped codec in place of a language model."""
    if str(lm) in SHIPPED_CODECS and not Path(lm).is_dir():
        raise ValueError(f"expected a language model, got the codec {str(lm)!r}")


def _described(given: Path | str) -> str:
    """What was given in place of a stored synthesizer, and the call that takes it."""
    name, call = str(given), "Synthesizer.from_pretrained"
    if name in SHIPPED_CODECS:
        return f"the codec {name!r} alone; {call}({name!r}, lm), with a language model of its codes"
    for folder in (Path(given), BUNDLED / given):
        try:
            wanted = SpeechLMConfig.load(folder / CONFIG).codec_fingerprint
        except ValueError:  # no language model
            continue
        alone = f"the language model {name!r} alone; {call}"
        for codec, names_of_codes in SHIPPED_CODECS.items():
            if wanted in names_of_codes:
                return f"{alone}(lm={name!r}) takes its codec, {codec}"
        return f"{alone}(codec, {name!r}), with the codec of codes {wanted}"
    return f"{name!r} without {CODEC} and {LM} in it; give codec and language model, or lm= alone"


def check_text_model(lm: SpeechLM, tokenizer: Tokenizer) -> None:
    """Raise `ValueError` for another text model than the language model was trained with."""
    trained_with = lm.vocabulary.text_fingerprint
    # Models of before text fingerprints have none.
    if trained_with and trained_with != tokenizer.fingerprint:
        raise ValueError(
            f"expected text model {trained_with}, which this language model was trained with, "
            f"got {tokenizer.fingerprint}"
        )
