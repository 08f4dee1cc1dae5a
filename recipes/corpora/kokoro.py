"""A corpus that Kokoro-82M speaks: sentences of any text file, in its voices and blends of them.

It is SYNTHETIC: figures measured on it do not hold for human speech, and the card of a model that
was trained on it says so. Every row names model, voice and licence.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from codec.audio import audio_info, write_audio
from codec.checks import require
from codec.files.derived import Origins, digest_of, file_state
from codec.runtime.workers import Workers
from recipes.runner.schema import KokoroConfig

from .kokoro_model import LICENCE, SAMPLE_RATE, Kokoro, model_file, read_sentences, read_voices
from .manifest import MANIFEST_NAME, CorpusRow, write_manifest

# Of English read aloud, to plan how many sentences make an hour; and silence around a sentence, s.
LETTERS_A_SECOND, AROUND = 17.6, 0.1
ENGLISH = ("a", "b")  # first letters of the names of American and British voices
BLEND_SHARES = (0.35, 0.65)


@dataclass(frozen=True)
class Speaker:
    """A voice, or a fixed blend of two.

    Attributes:
        name: Of the manifest.
        shares: Of the voices it is made of; the first gives the accent.
        split: The one split that it speaks in.
    """

    name: str
    shares: dict[str, float]
    split: str

    @property
    def voice(self) -> str:
        """The voices and their shares in words."""
        if len(self.shares) == 1:
            return next(iter(self.shares))
        return " + ".join(f"{share:.3f} {name}" for name, share in self.shares.items())


@dataclass(frozen=True)
class Clip:
    """One sentence for one speaker, with the row of its file."""

    row: CorpusRow
    shares: dict[str, float]
    speed: float

    @property
    def digest(self) -> str:
        """Of all but the model that decides the recording."""
        return digest_of(self.row.text, self.shares, self.speed)


def kokoro_rows(settings: KokoroConfig, folder: Path, *, seed: int) -> list[CorpusRow]:
    """Speak what of the corpus is not there yet, and write its manifest.

    A run that was cut off goes on where it was; more hours add to what is there. No sentence and
    no speaker is in two splits.

    Args:
        settings: Model, sentences, speakers and hours.
        folder: Destination of audio/ and manifest.jsonl.
        seed: Chooses speakers, sentences and speeds.

    Raises:
        ValueError: A package, file or voice is missing, or there are too few sentences or voices.
    """
    model = Path(settings.model)
    name, origins = model_file(model).name, Origins(folder / "origins.jsonl")
    state = file_state(model / name)[1]  # its bytes: the time of a copy is another
    clips = plan_clips(settings, folder, sorted(read_voices(model)), name, seed)
    digests = {clip.row.id: digest_of(clip.digest, name, state) for clip in clips}
    left = [each for each in clips if not origins.is_current(each.row.audio, digests[each.row.id])]
    if left:
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
        origins.forget(clip.row.audio for clip in left)
        workers = 0 if settings.workers == 1 else settings.workers
        with Workers(
            workers, setup=_set_up, setup_args=(model,), teardown=_tear_down, threads=1
        ) as pool:
            spoken = pool.map(_speak, left)
            bar = tqdm(spoken, "  sentences of Kokoro", len(left), file=sys.stderr, mininterval=5)
            for clip, _ in zip(left, bar, strict=True):
                origins.note(clip.row.audio, digests[clip.row.id])
    rows = []
    for clip in clips:
        num_samples, rate = audio_info(clip.row.audio)
        rows.append(replace(clip.row, duration=round(num_samples / rate, 6)))
    write_manifest(folder / MANIFEST_NAME, rows)
    return rows


def plan_clips(
    settings: KokoroConfig, folder: Path, voices: Sequence[str], model: str, seed: int
) -> list[Clip]:
    """Deal sentences out to the speakers, each until its share of the hours is likely full.

    A speaker's first clips are the same for any number of hours.

    Args:
        settings: Speakers, hours, speeds, and how many sentences only valid and test have.
        folder: Of the recordings.
        voices: Names of the model's voices.
        model: Name of its file, for the rows.
        seed: Of the draw.

    Raises:
        ValueError: Too few sentences, or as `plan_speakers`.
    """
    sentences = read_sentences(Path(settings.sentences))
    held = settings.held_out_sentences
    enough = len(sentences) > held
    require(enough, "kokoro.sentences", f"more than {held} sentences", len(sentences))
    # The first ones of the file are valid's and test's, dealt out in turn.
    own = {"train": sentences[held:], "valid": sentences[:held:2], "test": sentences[1:held:2]}
    speakers = plan_speakers(settings, voices, seed)
    training = sum(speaker.split == "train" for speaker in speakers)
    clips = []
    for number, speaker in enumerate(speakers):
        is_training = speaker.split == "train"
        seconds = 3600 * settings.hours / training if is_training else settings.held_out_seconds
        draw = np.random.default_rng((seed, number))
        mine = own[speaker.split]
        texts = [mine[index] for index in draw.permutation(len(mine)).tolist()]
        spoken, count = 0.0, 0
        while spoken < seconds:
            text = texts[count % len(texts)]
            speed = round(float(draw.uniform(settings.min_speed, settings.max_speed)), 4)
            spoken += len(text) / LETTERS_A_SECOND / speed + AROUND
            clips.append(_clip(speaker, count, text, speed, model, folder))
            count += 1
    return clips


def plan_speakers(settings: KokoroConfig, voices: Sequence[str], seed: int) -> list[Speaker]:
    """Choose the voices of each split, and the blends, all of train, which have none of the others.

    Raises:
        ValueError: A voice that the model lacks, or too few voices.
    """
    wanted = settings.voices or [each for each in voices if each.startswith(ENGLISH)]
    unknown = sorted(set(wanted) - set(voices))
    require(not unknown, "kokoro.voices", f"some of {', '.join(voices)}", unknown)
    counts = {"valid": settings.valid_voices, "test": settings.test_voices}
    least = sum(counts.values()) + 1
    require(len(wanted) >= least, "kokoro.voices", f"at least {least} voices", len(wanted))
    draw = np.random.default_rng((seed, len(voices)))
    order = [wanted[index] for index in draw.permutation(len(wanted))]
    splits = {order.pop(): split for split, count in counts.items() for _ in range(count)}
    speakers = [
        Speaker(f"kokoro_{voice}", {voice: 1.0}, splits.get(voice, "train")) for voice in wanted
    ]
    # Voices of other languages are in blends too: they bring other timbres.
    parents = [voice for voice in voices if voice not in splits]
    require(settings.blends == 0 or len(parents) > 1, "kokoro.blends", "two voices", parents)
    for number in range(settings.blends):
        first, second = draw.choice(parents, 2, replace=False).tolist()
        share = round(float(draw.uniform(*BLEND_SHARES)), 3)
        shares = {first: share, second: round(1 - share, 3)}
        speakers.append(Speaker(f"kokoro_blend{number:03d}", shares, "train"))
    return speakers


def _clip(speaker: Speaker, count: int, text: str, speed: float, model: str, folder: Path) -> Clip:
    """One sentence of a speaker, before its length is known."""
    name = f"{speaker.name}_{count:05d}"
    row = CorpusRow(
        id=name,
        audio=folder / "audio" / speaker.name / f"{name}.flac",
        duration=0.0,
        text=text,
        speaker=speaker.name,
        lang="en",
        split=speaker.split,
        extra={
            "source": "kokoro",
            "synthetic": True,
            "model": f"Kokoro-82M ({model})",
            "voice": speaker.voice,
            "speed": speed,
            "license": LICENCE,
        },
    )
    return Clip(row, speaker.shares, speed)


# The model of this process.
_MODEL: dict[str, Kokoro] = {}


def _set_up(folder: Path) -> None:
    """Load the model, once in every process that speaks."""
    _MODEL["kokoro"] = Kokoro(folder).__enter__()


def _tear_down() -> None:
    """Drop the model of this process, where it has been loaded."""
    if "kokoro" in _MODEL:
        _MODEL.pop("kokoro").__exit__()


def _speak(clip: Clip) -> None:
    """Synthesize one clip to its file."""
    shares: Mapping[str, float] = clip.shares
    try:
        waveform = _MODEL["kokoro"].speak(clip.row.text, shares, clip.speed)
    except ValueError as error:
        raise ValueError(f"{clip.row.id}: {error}") from error
    write_audio(clip.row.audio, waveform, SAMPLE_RATE)
