"""Layouts of LJSpeech 1.1 and LibriTTS, downloaded when asked to.

LJSpeech (public domain): `LJSpeech-1.1/metadata.csv`, `LJSpeech-1.1/wavs/*.wav`.
LibriTTS (CC BY 4.0, https://arxiv.org/abs/1904.02882):
`LibriTTS/<subset>/<speaker>/<chapter>/<id>.wav`, `.original.txt`, `.normalized.txt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codec.audio.io import AudioError, audio_info
from codec.error_text import reason_of
from codec.files.json_lines import read_lines
from codec.files.names import is_hidden
from codec.files.reading import read_file
from recipes.runner.schema import CorporaConfig

from .download import download, unpack
from .importing import Skip, Utterance
from .manifest import CorpusRow


@dataclass(frozen=True)
class Archive:
    """One published archive and the folder that it unpacks to."""

    url: str
    sha256: str
    member: str


LJSPEECH = Archive(
    "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
    "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
    "LJSpeech-1.1",
)
LIBRITTS_URL = "https://www.openslr.org/resources/60/{subset}.tar.gz"
LIBRITTS_SHA256 = {
    "dev-clean": "da0864e1bd26debed35da8a869dd5c04dfc27682921936de7cff9c8a254dbe1a",
    "dev-other": "d413eda26f3a152ac7c9cf3658ef85504dfb1b625296e5fa83727f5186cca79c",
    "test-clean": "234ea5b25859102a87024a4b9b86641f5b5aaaf1197335c95090cde04fe9a4f5",
    "test-other": "33a5342094f3bba7ccc2e0500b9e72d558f72eb99328ac8debe1d9080402f10d",
    "train-clean-100": "c5608bf1ef74bb621935382b8399c5cdd51cd3ee47cec51f00f885a64c6c7f6b",
    "train-clean-360": "ce7cff44dcac46009d18379f37ef36551123a1dc4e5c8e4eb73ae57260de4886",
    "train-other-500": "e35f7e34deeb2e2bdfe4403d88c8fdd5fbf64865cae41f027a185a6965f0a5df",
}
# First part of a subset's name -> split.
_SPLIT_OF = {"train": "train", "dev": "valid", "test": "test"}


def ljspeech_rows(settings: CorporaConfig) -> list[CorpusRow]:
    """Read LJSpeech: one woman reading, 13,100 clips, English; it has no splits of its own.

    Raises:
        ValueError: The corpus is not there, or a line or recording of it is missing.
    """
    return [_row(found) for found in ljspeech_utterances(_folder(settings, LJSPEECH))]


def ljspeech_utterances(folder: Path) -> Iterator[Utterance]:
    """Yield the lines of LJSpeech's metadata.csv.

    Args:
        folder: `LJSpeech-1.1/`, or the folder that it lies in.

    Raises:
        ValueError: No metadata.csv, or a line of it that is not of the format.
    """
    root = folder / LJSPEECH.member if (folder / LJSPEECH.member).is_dir() else folder
    metadata = root / "metadata.csv"
    if not metadata.is_file():
        raise ValueError(f"{metadata}: not found; expected LJSpeech 1.1 in {root}")
    for number, line in read_lines(metadata):
        fields = line.split("|")
        if len(fields) != 3:
            raise ValueError(f"{metadata}:{number}: expected id|text|normalized, got {line!r}")
        name, text, normalized = fields
        extra = {"source": "ljspeech", "gender": "f", "text_norm": normalized}
        audio = root / "wavs" / f"{name}.wav"
        yield Utterance(name, audio, text, "ljspeech", "en", extra=extra)


def fetch_ljspeech(folder: Path) -> None:
    """Download LJSpeech to `folder` unless it is there."""
    _folder(CorporaConfig(str(folder), download=True), LJSPEECH)


def libritts_rows(settings: CorporaConfig) -> list[CorpusRow]:
    """Read LibriTTS, audiobooks at 24 kHz, in the splits that the settings make of its subsets.

    Raises:
        ValueError: A subset that does not exist or is not there, or a clip without its text.
    """
    rows = []
    for split in ("train", "valid", "test"):
        for subset in getattr(settings, f"{split}_subsets"):
            if subset not in LIBRITTS_SHA256:
                expected = ", ".join(LIBRITTS_SHA256)
                raise ValueError(
                    f"corpora.{split}_subsets: expected some of {expected}, got {subset!r}"
                )
            folder = _folder(settings, _subset(subset))
            rows += [_row(found) for found in _subset_utterances(folder, split)]
    return rows


def libritts_utterances(folder: Path) -> Iterator[Utterance | Skip]:
    """Yield the clips of every subset of LibriTTS; train-*, dev-* and test-* make the splits.

    Args:
        folder: `LibriTTS/`, or the folder that it lies in.

    Raises:
        ValueError: No subset is there, or one without clips.
    """
    root = folder / "LibriTTS" if (folder / "LibriTTS").is_dir() else folder
    subsets = [name for name in LIBRITTS_SHA256 if (root / name).is_dir()]
    if not subsets:
        raise ValueError(f"{root}: expected some of {', '.join(LIBRITTS_SHA256)}, found none")
    for name in subsets:
        yield from _subset_utterances(root / name, _SPLIT_OF[name.split("-")[0]])


def libritts_subset_rows(folder: Path) -> list[CorpusRow]:
    """Read one subset of LibriTTS.

    Args:
        folder: Such as `LibriTTS/test-clean`.

    Raises:
        ValueError: No clips in it, or a clip without its text.
    """
    return [_row(found) for found in _subset_utterances(folder, _SPLIT_OF["test"])]


def fetch_libritts(folder: Path, subsets: Sequence[str]) -> None:
    """Download subsets of LibriTTS to `folder` unless they are there.

    Raises:
        ValueError: There is no such subset.
    """
    unknown = sorted(set(subsets) - set(LIBRITTS_SHA256))
    if unknown or not subsets:
        raise ValueError(f"expected some of {', '.join(LIBRITTS_SHA256)}, got {unknown}")
    for subset in subsets:
        _folder(CorporaConfig(str(folder), download=True), _subset(subset))


def _subset(name: str) -> Archive:
    """The archive of a LibriTTS subset."""
    return Archive(LIBRITTS_URL.format(subset=name), LIBRITTS_SHA256[name], f"LibriTTS/{name}")


def _subset_utterances(folder: Path, split: str) -> Iterator[Utterance | Skip]:
    """The clips of one LibriTTS subset, sorted by id."""
    found = sorted(path for path in folder.glob("*/*/*.wav") if not is_hidden(path, folder))
    if not found:
        raise ValueError(f"{folder}: expected <speaker>/<chapter>/<id>.wav inside, found none")
    for audio in found:
        texts = []
        try:
            # Each transcript is a file of one line beside the recording.
            for kind in ("original", "normalized"):
                path = audio.with_name(f"{audio.stem}.{kind}.txt")
                texts.append(read_file(path).decode("utf-8-sig").strip())
        except (OSError, UnicodeDecodeError) as error:
            reason = f"{path}: cannot read this transcript: {reason_of(error, path)}"
            yield Skip(audio.stem, reason, "transcript")
            continue
        original, normalized = texts
        extra = {"source": f"libritts_{folder.name}", "text_norm": normalized}
        speaker = audio.parent.parent.name
        yield Utterance(audio.stem, audio, original, speaker, "en", split, extra)


def _row(found: Utterance | Skip) -> CorpusRow:
    """The row of a clip; a published corpus that was unpacked whole has no clip without one."""
    if isinstance(found, Skip):
        raise ValueError(found.reason)
    try:
        num_samples, sample_rate = audio_info(found.audio)
    except (AudioError, OSError) as error:
        raise ValueError(
            f"{found.audio}: missing or unreadable ({reason_of(error, found.audio)}); "
            "unpack the corpus again"
        ) from error
    duration = num_samples / sample_rate
    row = (found.id, found.audio, duration, found.text, found.speaker, found.lang)
    return CorpusRow(*row, split=found.split, extra=found.extra)


def _folder(settings: CorporaConfig, archive: Archive) -> Path:
    """The unpacked folder; fetched first when it is missing and the settings allow it."""
    base = Path(settings.folder)
    target = base / archive.member
    if target.is_dir():
        return unpack(base / archive.url.rsplit("/", 1)[1], base, archive.member)
    if not settings.download:
        raise ValueError(
            f"{target}: not found; unpack {archive.url} in {base}, or let it be fetched with "
            "corpora.download=true"
        )
    packed = download(archive.url, base / archive.url.rsplit("/", 1)[1], archive.sha256)
    return unpack(packed, base, archive.member)
