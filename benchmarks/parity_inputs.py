"""Inputs of a parity record: ten clips, texts, and the settings of small training runs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

import slm
from codec.audio import read_audio
from codec.files.json_lines import write_json_lines

SAMPLE_RATE = 24_000
SPLITS = ("train",) * 6 + ("valid",) * 2 + ("test",) * 2  # of the ten clips
RECORDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3")
RECORDING_SECONDS = 3.0  # read of each recording
TEXTS = (
    "Good morning.",
    "The old man found a red boat near the river.",
    "Where did you put it? I have looked everywhere!",
    "A bell was ringing last night; nobody came, and the house stayed dark.",
)
LONG_TEXT = (
    "Rain had fallen since noon. The road was empty, and the lamps were not lit yet. "
    "She walked on without a word, past the mill and over the bridge."
)
# Transcripts of the clips for the language models, whatever the clips sound like.
SENTENCES = (
    "the quick brown fox jumps over a lazy dog",
    "pack my box with five dozen jugs of wine",
    "how vexingly quick daft zebras jump",
    "seven green hills lie behind the old mill",
    "nobody came when the bell was ringing",
)

_COMMON = """
corpus: corpus
seed: 3
threads: 1
"""
_CODEC = """
stages: [prepare, train_codec]
codec: {preset: tiny}
train_codec:
  accelerator: cpu
  log_every: 1
  validate_every: 10
  checkpoint_every: 10
  phases:
    codec:
      train: [encoder, quantizer, decoder]
      steps: 20
      batch_size: 2
      crop_codes: 8
      speed: 0.1
      schedule: wsd
      warmup_steps: 4
      ema_decay: 0.9
      quantize_from: 6
      weights: {mel: 1.0, vq: 1.0, semantic: 0.1}
      semantic: {teacher: mfcc}
    adversarial:
      train: [vocoder]
      vocoder_input: target
      steps: 20
      batch_size: 2
      crop_codes: 4
      warmup_steps: 4
      adversarial_from: 5
      weights: {waveform_mel: 1.0, adversarial: 0.1, feature_matching: 0.1}
      discriminators:
        {periods: [2], n_ffts: [256], channels: 2, band_n_ffts: [256], band_channels: 2}
"""
_LANGUAGE_MODEL = """
stages: [prepare, train_codec, encode_corpus, train_text, train_slm]
codec: {start: hh-mini-24k}
"""
_TEXT = """
encode_corpus: {workers: 1, device: cpu}
train_text: {vocab_size: 48}
train_slm:
  accelerator: cpu
  preset: tiny
  overrides: {dropout: 0.1, qk_norm: true}
  seq_len: 256
  batch_size: 2
  accumulate: 2
  steps: 20
  warmup_steps: 4
  min_prompt_codes: 8
  max_prompt_codes: 16
  documents: {interleave_probability: 0.3, interleave_codes: 8, text_loss_weight: 0.1}
  validate_every: 10
  checkpoint_every: 10
"""
_PHONES = """
encode_corpus: {workers: 1, device: cpu, shifts: [256]}
train_text: {kind: phones}
train_slm:
  accelerator: cpu
  preset: tiny
  overrides: {lookahead: 1, code_table: 16, dropout: 0.1, code_dropout: 0.1}
  seq_len: 512
  batch_size: 1
  steps: 20
  warmup_steps: 4
  bf16: true
  min_prompt_codes: 8
  max_prompt_codes: 16
  training: {optimizer: muon, schedule: wsd}
  validate_every: 10
  checkpoint_every: 10
"""
# Settings by run; between them they switch on most of what the trainers can do on a CPU.
RUNS = {
    "codec-training": _COMMON + _CODEC,
    "lm-text": _COMMON + _LANGUAGE_MODEL + _TEXT,
    "lm-phones": _COMMON + _LANGUAGE_MODEL + _PHONES,
}
ALIGNED = "lm-phones"  # the run that reads alignments


class Cut(NamedTuple):
    """A run that is kept half-finished."""

    run: str  # of `RUNS`
    after: int  # optimizer steps after which it ends, some beyond a checkpoint
    left: int  # optimizer steps from that checkpoint to the end of the run


# Checkpoints are written every ten steps. The codec's first phase makes 20 optimizer steps and the
# second 35, as its discriminators begin with its sixth.
CUTS = {
    "codec-phase": Cut("codec-training", after=13, left=45),
    "adversarial-phase": Cut("codec-training", after=40, left=20),
    "lm-text": Cut("lm-text", after=13, left=10),
    "lm-phones": Cut("lm-phones", after=13, left=10),
}


@dataclass(frozen=True)
class Workspace:
    """Folder of runs, with corpus/, settings and runs/, and its clips (T,) at 24 kHz."""

    folder: Path
    clips: list[NDArray[np.float32]]


def make_workspace(folder: Path, audio: str | None) -> Workspace:
    """Write a corpus of ten clips, and the settings of the runs over it.

    Args:
        folder: Empty.
        audio: Folder of recordings, of which ten are taken; synthetic clips when None.

    Raises:
        ValueError: Fewer than ten recordings.
    """
    corpus, rows = folder / "corpus", []
    corpus.mkdir()
    count = len(SPLITS)
    clips = _recordings(Path(audio), count) if audio else [*map(synthetic_clip, range(count))]
    for number, (clip, split) in enumerate(zip(clips, SPLITS, strict=True)):
        soundfile.write(_clip_path(folder, number), clip, SAMPLE_RATE, subtype="PCM_16")
        row = {"id": f"clip{number}", "audio": f"clip{number}.wav", "lang": "en", "split": split}
        row |= {"duration": len(clip) / SAMPLE_RATE, "speaker": f"s{number % 2}"}
        rows.append(row | {"text": SENTENCES[number % len(SENTENCES)]})
    write_json_lines(corpus / "manifest.jsonl", rows)
    for run, settings in RUNS.items():
        (folder / f"{run}.yaml").write_text(settings, encoding="utf-8")
    return open_workspace(folder)


def open_workspace(folder: Path) -> Workspace:
    """Open the workspace in a folder that `make_workspace` filled, or in a copy of it."""
    paths = [_clip_path(folder, number) for number in range(len(SPLITS))]
    return Workspace(folder, [np.array(soundfile.read(path)[0], np.float32) for path in paths])


def place_alignments(space: Workspace, folder: Path) -> None:
    """Write made-up alignments and a lexicon into a stage folder, which the stage uses.

    Synthetic clips cannot be aligned with a text. The units run through all ids from clip to clip.

    Args:
        space: Of the clips.
        folder: Of the stage `train_text` of a run that has not begun.
    """
    folder.mkdir(parents=True)
    bundled = next(Path(slm.__file__).parent.rglob("hh-mini-slm/lexicon.xz"))
    shutil.copy(bundled, folder / "lexicon.xz")
    for split in dict.fromkeys(SPLITS):
        rows = []
        for number, clip in enumerate(space.clips):
            if SPLITS[number] != split:
                continue
            ids = [0, *(1 + (7 * number + place) % 78 for place in range(12)), 0]
            ends = np.linspace(0, len(clip) / SAMPLE_RATE, len(ids) + 1).round(3).tolist()
            units = [list(unit) for unit in zip(ids, ends[:-1], ends[1:], strict=True)]
            rows.append({"id": f"clip{number}", "units": units})
        write_json_lines(folder / f"{split}.alignment.jsonl", rows)


def synthetic_clip(number: int) -> NDArray[np.float32]:
    """Synthesize voiced syllables with a gliding pitch and formants, and hiss between them.

    Args:
        number: Seeds it, and sets its pitch and its length of 1.2 s and more.

    Returns:
        (T,) float32 at 24 kHz with a peak of 0.5.
    """
    times = np.arange(round((1.2 + 0.2 * number) * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = (95 + 14 * number) * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * times + number))
    formant = 550 + 300 * np.sin(2 * np.pi * 2.3 * times + number)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    # Harmonics under two formants that move together, gated by the syllables.
    voice = np.zeros_like(times)
    for harmonic in range(1, 25):
        offset = harmonic * pitch - formant
        level = np.exp(-((offset / 250) ** 2)) + 0.3 * np.exp(-(((offset - 1400) / 400) ** 2))
        voice += (0.02 + level) * np.sin(harmonic * phase)
    syllables = np.clip(1.5 * np.sin(2 * np.pi * 3.1 * times + number), 0, 1)
    hiss = 0.05 * np.random.default_rng(number).standard_normal(len(times))
    waveform = syllables * voice + (1 - syllables) * hiss
    return (0.5 * waveform / np.abs(waveform).max()).astype(np.float32)


def _clip_path(folder: Path, number: int) -> Path:
    return folder / f"corpus/clip{number}.wav"


def _recordings(folder: Path, count: int) -> list[NDArray[np.float32]]:
    """The first seconds of `count` recordings, spread evenly over those of a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in RECORDINGS)
    if len(paths) < count:
        raise ValueError(f"expected {count} recordings or more in {folder}, got {len(paths)}")
    chosen = [paths[number * len(paths) // count] for number in range(count)]
    return [read_audio(path, SAMPLE_RATE, duration=RECORDING_SECONDS) for path in chosen]
