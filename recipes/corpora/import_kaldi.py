"""Kaldi data folders: wav.scp with segments, text, utt2spk, utt2lang and spk2gender where present.

Channels are those of reco2file_and_channel, or of a fifth column of segments.

The format: https://kaldi-asr.org/doc/data_prep.html. lhotse reads it too, but rounds lengths down
to milliseconds and needs a further package for lines that are commands.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from codec.audio.io import AudioError, audio_channels
from codec.files.json_lines import read_lines

from .importing import Skip, Utterance

_BLANKS = " \t\r\v\f"
UNKNOWN_LANGUAGE = "und"  # ISO 639's code for a language that is not stated
# Recording, start and end in it (s; None is its end; None for all of it), channel.
_Part = tuple[str, tuple[float, float | None] | None, int | None]

# Options of `flac` that decode a whole file, and write the same sound whatever the others are.
_PLAIN_OPTION = re.compile("-[cds]+|--decode|--stdout|--silent|--totally-silent")


def kaldi_utterances(
    folder: Path, *, audio_root: Path | None = None, lang: str = UNKNOWN_LANGUAGE
) -> Iterator[Utterance | Skip]:
    """Yield the utterances of a Kaldi data folder, each with its own speaker without utt2spk.

    Args:
        folder: Holds `wav.scp`.
        audio_root: Base of relative paths in it; None is `folder`.
        lang: Language of utterances that utt2lang does not name.

    Raises:
        ValueError: No wav.scp, or a line that is not of the format.
    """
    if not (folder / "wav.scp").is_file():
        raise ValueError(f"{folder}: expected a Kaldi data folder with wav.scp, found none")
    texts, speakers, languages, genders = (
        _table(folder / name) for name in ("text", "utt2spk", "utt2lang", "spk2gender")
    )
    recordings: dict[str, Path] = {}
    refused: set[str] = set()
    for recording, source in _table(folder / "wav.scp").items():
        try:
            recordings[recording] = (audio_root or folder) / _audio_of(source)
        except ValueError as error:
            refused.add(recording)
            yield Skip(recording, str(error), "command")
    channels = {
        name: _letter(folder, name, rest)
        for name, rest in _table(folder / "reco2file_and_channel").items()
    }
    # Without segments every recording is one utterance of the same name.
    parts = _parts(folder / "segments") or {key: (key, None, None) for key in recordings}
    for name in sorted(texts.keys() - parts.keys() - refused):
        yield Skip(name, "has a text but no recording or segment", "no_recording")
    for name, found in parts.items():
        if isinstance(found, Skip):
            yield found
            continue
        recording, part, own = found
        if recording not in recordings:
            yield Skip(name, f"recording {recording!r} is not listed as a file in wav.scp")
            continue
        if texts and name not in texts:
            yield Skip(name, "has no line in text", "transcript")
            continue
        audio = recordings[recording]
        try:
            channel = _channel(audio, channels.get(recording) if own is None else own)
        except AudioError as error:
            yield Skip(name, str(error), "audio")
            continue
        speaker = speakers.get(name) or name
        gender = genders.get(speaker)
        extra = {"source": folder.name} | ({"gender": gender} if gender else {})
        yield Utterance(
            name,
            audio,
            texts.get(name, ""),
            speaker,
            languages.get(name) or lang,
            extra=extra,
            # One of several channels is a part.
            part=part if channel is None else part or (0.0, None),
            channel=channel,
        )


def _audio_of(source: str) -> str:
    """The file that a line of wav.scp names; nothing is ever run.

    Raises:
        ValueError: The line is a command other than one that decodes a whole FLAC file.
    """
    if not source.endswith("|"):
        return source
    # `flac -c -d -s FILE |` is the one command whose file can be read instead.
    words = shlex.split(source[:-1])
    files = [word for word in words[1:] if word.lower().endswith(".flac")]
    # Any other word may choose a part of the sound, or change it.
    plain = all(_PLAIN_OPTION.fullmatch(word) for word in words[1:] if word not in files)
    if words and Path(words[0]).name == "flac" and len(files) == 1 and plain:
        return files[0]
    raise ValueError(
        f"expected a file, got the command {source!r}; commands are not run: write its output to "
        "a WAV or FLAC file and name that in wav.scp"
    )


def _table(path: Path) -> dict[str, str]:
    """First word of each line -> the rest of it; {} without the file."""
    # Tables are often links; one that leads nowhere is lost, and not left out.
    if not os.path.lexists(path):
        return {}
    rows: dict[str, str] = {}
    for number, line in read_lines(path):
        # Blanks alone: a text may hold, and begin with, other characters that `str.strip` takes.
        line = line.strip(_BLANKS)
        if not line:
            continue
        # Name and value are separated by a space, or by a tab.
        name, _, rest = line.partition(" ")
        if "\t" in name:
            name, _, rest = line.partition("\t")
        if name in rows:
            raise ValueError(f"{path}:{number}: expected every name once, got {name!r} again")
        rows[name] = rest.strip(_BLANKS)
    return rows


def _letter(folder: Path, recording: str, rest: str) -> int:
    """The channel that a line of reco2file_and_channel states: A is 0, B is 1."""
    letter = rest.split()[-1] if rest else ""
    if letter in ("A", "B"):
        return "AB".index(letter)
    if letter.isdecimal() and int(letter) > 0:
        return int(letter) - 1
    raise ValueError(
        f"{folder / 'reco2file_and_channel'}: {recording}: expected `recording file channel` with "
        f"channel A or B, or a number from 1 on, got {rest!r}"
    )


def _channel(audio: Path, stated: int | None) -> int | None:
    """The channel to read of a file, None where it has one only.

    Raises:
        AudioError: The file cannot be read, or has several channels but not this one.
    """
    if stated is None:
        return None
    count = audio_channels(audio)
    # A file of one channel is what was taken out of a call of several.
    if count == 1:
        return None
    if stated >= count:
        raise AudioError(f"{audio}: expected a channel of its {count}, from 0 on, got {stated}")
    return stated


def _parts(path: Path) -> dict[str, _Part | Skip]:
    """Utterance -> recording, start and end (s; -1 in the file is the recording's end), channel."""
    parts: dict[str, _Part | Skip] = {}
    for name, rest in _table(path).items():
        words = re.split(r"[ \t]+", rest)
        try:
            recording, start, end = words[0], float(words[1]), float(words[2])
            (channel,) = map(int, words[3:] or ["-1"])
            if channel < -1:  # -1 leaves it open
                raise ValueError(channel)
        except (IndexError, ValueError):
            expected = "`utterance recording start end [channel]`"
            parts[name] = Skip(name, f"{path}: {name}: expected {expected}, got {rest!r}")
            continue
        span = start, None if end == -1 else end
        parts[name] = recording, span, channel if channel >= 0 else None
    return parts
