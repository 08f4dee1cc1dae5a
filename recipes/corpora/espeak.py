"""The embedded corpus: sentences of a small grammar, synthesized by eSpeak NG in many voices.

It needs no download, only the pip package `espeakng-loader`, and is SYNTHETIC: it shows that the
whole job works, and figures measured on it do not hold for human speech.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from codec.audio import write_audio
from codec.requirements import install_command
from recipes.runner.schema import EspeakConfig

from .espeak_sentences import make_sentences
from .manifest import MANIFEST_NAME, CorpusRow, read_manifest, write_manifest

SAMPLE_RATE = 24_000
# Values of eSpeak NG's C interface (speak_lib.h).
_SYNCHRONOUS, _DO_NOT_EXIT = 2, 0x8000
_CHARACTERS, _UTF8, _IPA = 1, 1, 2
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4
_SAMPLES_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker: eSpeak NG's accent and variant, and parameters of prosody.

    Attributes:
        name: `<accent>+<variant>`.
        rate: Words a minute, 80 to 450.
        pitch: Base pitch, 0 to 99.
        pitch_range: Liveliness of the intonation, 0 to 99.
    """

    name: str
    rate: int
    pitch: int
    pitch_range: int = 50


# Train and valid voices are taken from the front, test voices from the back.
VOICES = (
    Voice("en-us+f2", 160, 50),
    Voice("en-us+m3", 165, 45),
    Voice("en+f4", 165, 45),
    Voice("en+m1", 160, 40),
    Voice("en-us+f5", 155, 60, 60),
    Voice("en-us+m7", 170, 35),
    Voice("en-gb-scotland+f1", 165, 55),
    Voice("en-gb-scotland+m2", 160, 50, 60),
    Voice("en-us+Alicia", 165, 50),
    Voice("en-us+adam", 160, 45),
    Voice("en-gb-x-rp+f3", 170, 50),
    Voice("en-gb-x-rp+m4", 155, 55, 40),
    Voice("en-us+linda", 165, 55),
    Voice("en-us+Michael", 160, 40, 60),
    Voice("en-029+f2", 160, 45),
    Voice("en-029+m3", 165, 50),
    Voice("en-us-nyc+steph", 160, 50),
    Voice("en-us-nyc+m6", 160, 50),
    Voice("en+Andrea", 165, 55),
    Voice("en+m8", 165, 45, 60),
)


@dataclass(frozen=True)
class Utterance:
    """One sentence for one voice, with the row of its file."""

    row: CorpusRow
    voice: Voice


class Espeak:
    """eSpeak NG itself, in a state of its own; use as a context manager.

    The library keeps its state (random numbers, the phase of its oscillators) in static variables
    that no call resets, so its output depends on all texts before. A private copy of the library
    file starts afresh: the same texts in the same order then give the same samples.

    Raises:
        ValueError: The package espeakng-loader is not installed, or its library fails to start.
    """

    def __enter__(self) -> Espeak:
        if importlib.util.find_spec("espeakng_loader") is None:
            raise ValueError(
                "corpus=espeak needs the package espeakng-loader: "
                + install_command("espeakng-loader")
            )
        import espeakng_loader

        # The file may go once it is loaded.
        with tempfile.TemporaryDirectory() as folder:
            self._library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), folder))
        self._data = Path(espeakng_loader.get_data_path())
        self.sample_rate = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, str(self._data).encode(), _DO_NOT_EXIT
        )
        if self.sample_rate <= 0:
            raise ValueError(f"eSpeak NG did not start with its data in {self._data}")
        self._chunks: list[NDArray[np.int16]] = []
        # Kept on self: ctypes frees a callback that nothing refers to while C still calls it.
        self._callback = _SAMPLES_CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(0))
        return self

    def __exit__(self, *_: object) -> None:
        self._library.espeak_Terminate()

    def speak(self, text: str, voice: Voice) -> NDArray[np.float32]:
        """Synthesize a text: (T,) float32 in [-1, 1] at `self.sample_rate`.

        Raises:
            ValueError: A voice that eSpeak NG lacks, or a text without a sound.
        """
        # A variant that it lacks is no error to the library, which then speaks without one.
        variant = self._data / "voices" / "!v" / voice.name.partition("+")[2]
        known = variant.is_file() and self._library.espeak_SetVoiceByName(voice.name.encode()) == 0
        if not known:
            raise ValueError(f"eSpeak NG has no voice {voice.name!r}")
        prosody = {_RATE: voice.rate, _PITCH: voice.pitch, _PITCH_RANGE: voice.pitch_range}
        for parameter, value in prosody.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        encoded = text.encode()
        size = ctypes.c_size_t(len(encoded) + 1)
        # The size counts the zero that ends the text.
        status = self._library.espeak_Synth(encoded, size, 0, _CHARACTERS, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate([np.zeros(0, np.int16), *self._chunks])
        if status != 0 or not samples.any():
            raise ValueError(f"eSpeak NG made no sound of {text!r} (status {status})")
        return samples.astype(np.float32) / 32768.0

    def phones(self, text: str, language: str) -> str:
        """Transcribe a text without marks into the phones of the IPA, with stress.

        Args:
            text: Words; what the library takes for several clauses is joined by spaces.
            language: A voice's, such as en-us.

        Raises:
            ValueError: A language that eSpeak NG lacks.
        """
        if self._library.espeak_SetVoiceByName(language.encode()) != 0:
            raise ValueError(f"eSpeak NG has no voice {language!r}")
        transcribe = self._library.espeak_TextToPhonemes
        transcribe.restype = ctypes.c_char_p
        encoded = ctypes.create_string_buffer(text.encode())
        # It moves the pointer behind the clause that it returns, to zero after the last.
        place, clauses = ctypes.c_void_p(ctypes.addressof(encoded)), []
        while place.value:
            clauses.append((transcribe(ctypes.byref(place), _UTF8, _IPA) or b"").decode())
        return " ".join(each.strip() for each in clauses if each.strip())

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _: object) -> int:
        """Keep a block of samples from the library; 0 tells it to go on."""
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0


def espeak_rows(settings: EspeakConfig, folder: Path, *, seed: int) -> list[CorpusRow]:
    """Synthesize the corpus into `folder`, FLAC files with a manifest, unless it is there already.

    No sentence is in two splits; the voices of `test` are in no other split.

    Args:
        settings: Numbers of sentences and voices.
        folder: Destination of audio/ and manifest.jsonl.
        seed: Chooses the sentences.

    Raises:
        ValueError: More voices than there are, or eSpeak NG is not installed.
    """
    manifest = folder / MANIFEST_NAME
    if manifest.is_file():
        return read_manifest(manifest)
    by_voice = _plan(settings, folder, seed)
    rows: list[CorpusRow] = []
    for utterances in tqdm(by_voice, desc="  eSpeak NG voices", file=sys.stderr):
        rows += speak_all(utterances)
    write_manifest(manifest, rows)
    return rows


def speak_all(utterances: Sequence[Utterance]) -> list[CorpusRow]:
    """Synthesize one voice's utterances to their files; returns their rows with the durations.

    In one go, since the library's output depends on the utterances before.
    """
    rows = []
    with Espeak() as espeak:
        for item in utterances:
            waveform = espeak.speak(item.row.text, item.voice)
            resampled = soxr.resample(waveform, espeak.sample_rate, SAMPLE_RATE, quality="HQ")
            write_audio(item.row.audio, resampled, SAMPLE_RATE)
            rows.append(replace(item.row, duration=round(len(resampled) / SAMPLE_RATE, 6)))
    return rows


def _plan(settings: EspeakConfig, folder: Path, seed: int) -> list[list[Utterance]]:
    """Utterances of each voice; sentences are dealt out to the voices in turn."""
    if settings.train_voices + settings.test_voices > len(VOICES):
        raise ValueError(
            f"espeak.train_voices + espeak.test_voices: expected at most {len(VOICES)}, "
            f"got {settings.train_voices} + {settings.test_voices}"
        )
    counts = {
        "train": settings.train_sentences,
        "valid": settings.valid_sentences,
        "test": settings.test_sentences,
    }
    sentences = iter(make_sentences(sum(counts.values()), seed))
    # Voices of test are in no other split.
    known, unseen = VOICES[: settings.train_voices], VOICES[-settings.test_voices :]
    by_voice: dict[str, list[Utterance]] = {}
    for split, count in counts.items():
        voices = unseen if split == "test" else known
        for index in range(count):
            voice = voices[index % len(voices)]
            speaker = voice.name.replace("+", "_")
            name = f"{split}_{index:05d}_{speaker}"
            row = CorpusRow(
                id=name,
                audio=folder / "audio" / speaker / f"{name}.flac",
                duration=0.0,  # known when it has been spoken
                text=next(sentences),
                speaker=speaker,
                lang="en",
                split=split,
                extra={"source": "espeak", "synthetic": True},
            )
            by_voice.setdefault(speaker, []).append(Utterance(row, voice))
    return list(by_voice.values())
