"""Corpora that lhotse prepares, and CutSets that were made with it (extra `lhotse`).

lhotse (https://github.com/lhotse-speech/lhotse, Apache-2.0) knows the layouts of LibriSpeech and
VCTK and their addresses; recordings that it leaves out are found again and listed here.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from codec.error_text import message_of
from codec.files.json_lines import iter_json_lines
from codec.files.names import data_files, is_hidden
from codec.requirements import install_command

from .import_kaldi import UNKNOWN_LANGUAGE
from .importing import Skip, Utterance

# lhotse's recipes name languages in English; manifests hold codes.
LANGUAGES = {
    "chinese": "zh",
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "spanish": "es",
}
SPLITS = {"train": "train", "dev": "valid", "test": "test"}
# A cut whose bounds are nearer than this to its recording's is the whole recording, s.
_SAME = 1e-3
# A supervision may pass the bounds of its cut by so much, s; times are rounded.
_INSIDE = 0.025
# What lhotse raises for a file that is torn or damaged, or that holds lines of another kind.
_DAMAGED = (OSError, EOFError, zlib.error, ValueError)
_UNREADABLE = (*_DAMAGED, KeyError, TypeError, AttributeError, AssertionError, RecursionError)


def librispeech_utterances(
    folder: Path, *, download: Sequence[str] = ()
) -> Iterator[Utterance | Skip]:
    """Yield the subsets of LibriSpeech in `folder`; train-*, dev-* and test-* make the splits.

    Args:
        folder: `LibriSpeech/`, or the folder that it lies in or is to be downloaded to.
        download: Subsets to fetch first, such as dev-clean.

    Raises:
        ValueError: lhotse is not installed, or no subset is there.
    """
    recipe = _lhotse("recipes.librispeech")
    if download:
        recipe.download_librispeech(folder, dataset_parts=list(download))
    root = folder / "LibriSpeech" if (folder / "LibriSpeech").is_dir() else folder
    # lhotse logs what it passes over; the warnings become skips.
    with _log_as_skips() as skips:
        parts = _prepared(lambda: recipe.prepare_librispeech(root))
    yield from skips
    for part, manifests in sorted(parts.items()):
        cuts = _lhotse("cut").CutSet.from_manifests(**manifests)
        extra = {"source": f"librispeech_{part}"}
        yield from cut_utterances(cuts, split=SPLITS[part.split("-")[0]], extra=extra)
        yield from _left_out(
            data_files(root / part, (".flac",)),
            manifests["recordings"],
        )


def vctk_utterances(folder: Path, *, download: bool = False) -> Iterator[Utterance | Skip]:
    """Yield VCTK 0.92 (second microphone) or the older layout; it has no splits.

    Args:
        folder: Holds `speaker-info.txt` and `txt/`; a download unpacks to it.
        download: Fetch version 0.92 first (11 GB).

    Raises:
        ValueError: lhotse is not installed, or the layout is not VCTK's.
    """
    recipe = _lhotse("recipes.vctk")
    if download:
        recipe.download_vctk(folder, use_edinburgh_vctk_url=True)
    trimmed = folder / "wav48_silence_trimmed"
    new = trimmed.is_dir()
    if not new and not (folder / "wav48").is_dir():
        raise ValueError(f"{folder}: expected VCTK with wav48_silence_trimmed/ or wav48/ in it")
    with _log_as_skips() as skips:
        manifests = _prepared(lambda: recipe.prepare_vctk(folder, use_edinburgh_vctk_url=new))
    yield from skips
    cuts = _lhotse("cut").CutSet.from_manifests(**manifests)
    yield from cut_utterances(cuts, extra={"source": "vctk"}, lang="en")
    found = data_files(trimmed if new else folder / "wav48")
    if not new:
        audio = [path for path in found if path.suffix == ".wav"]
        yield from _left_out(audio, manifests["recordings"])
        return
    audio = [path for path in found if path.name.endswith("_mic2.flac")]
    yield from _left_out(audio, manifests["recordings"])
    # Speakers p280 and p315 have the first microphone only.
    for path in found:
        if path.name.endswith("_mic1.flac"):
            name = path.name.replace("_mic1", "_mic2")
            if not path.with_name(name).is_file():
                reason = f"{path}: expected a recording of the second microphone, {name}, got none"
                yield Skip(name.removesuffix(".flac"), reason, "microphone")


def cutset_utterances(
    path: Path, *, audio_root: Path | None = None, lang: str = UNKNOWN_LANGUAGE
) -> Iterator[Utterance | Skip]:
    """Yield the cuts of a CutSet file (.jsonl or .jsonl.gz).

    Args:
        path: Of the file.
        audio_root: Base of relative paths in it; None is the folder of the file.
        lang: Language of cuts that state none.

    Raises:
        ValueError: lhotse is not installed, or the file is no CutSet, or not a whole one.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected a CutSet file such as cuts.jsonl.gz, found none")
    kind, root = _lhotse("cut").CutSet, path.parent if audio_root is None else audio_root
    extra = {"source": path.parent.name}
    try:
        yield from cut_utterances(kind.from_file(path), root=root, lang=lang, extra=extra)
    except _UNREADABLE as error:
        got = message_of(error)
        raise ValueError(f"{path}: expected a CutSet that can be read, got {got}") from error


def is_cutset(path: Path) -> bool:
    """Tell a CutSet file from a manifest: by its name, or by the type of its first line."""
    if path.name.endswith(".jsonl.gz"):
        return True
    if path.suffix != ".jsonl" or not path.is_file():
        return False
    first: dict[str, Any] = {}
    with suppress(ValueError):  # of a file that is neither
        first = next((row for _, row in iter_json_lines(path)), first)
    return "audio" not in first and str(first.get("type", "")).endswith("Cut")


def cut_utterances(
    cuts: Iterable[Any],
    *,
    split: str = "",
    extra: dict[str, Any] | None = None,
    root: Path | None = None,
    lang: str = UNKNOWN_LANGUAGE,
) -> Iterator[Utterance | Skip]:
    """Turn cuts of lhotse into utterances: whole recordings, or parts to be cut out of them.

    Args:
        cuts: Of a CutSet.
        split: Of all of them.
        extra: Fields that all of them get; a supervision's own are added.
        root: Base of relative paths.
        lang: Language of cuts that state none.
    """
    named: dict[str, str] = {}  # utterance -> the cut that has its id
    for cut in cuts:
        problem = _unusable(cut) or _unmatched(cut)
        if problem:
            yield Skip(cut.id, problem, "cut")
            continue
        # In the order of speech, whatever that of the file.
        supervisions = sorted(cut.supervisions, key=lambda each: each.start)
        speakers = sorted({str(each.speaker) for each in supervisions if each.speaker})
        if len(speakers) > 1:
            yield Skip(cut.id, f"expected one speaker, got {', '.join(speakers)}", "cut")
            continue
        # Custom fields of the supervisions go into the manifest.
        own = {key: value for each in supervisions for key, value in (each.custom or {}).items()}
        genders = {each.gender for each in supervisions if each.gender}
        own |= {"gender": genders.pop()} if len(genders) == 1 else {}
        stated = next((each.language for each in supervisions if each.language), lang)
        numbered = len(supervisions) == 1 and cut.id.rpartition("-")[0] == cut.recording.id
        # Several cuts may hold one utterance, such as windows that overlap.
        if numbered:
            numbered = named.setdefault(supervisions[0].id, cut.id) == cut.id
        channel = _channel(cut)
        whole = cut.start < _SAME and abs(cut.duration - cut.recording.duration) < _SAME
        yield Utterance(
            # An id that lhotse made itself, `<recording>-<number>`, gives way to the utterance's.
            supervisions[0].id if numbered else cut.id,
            (root or Path()) / cut.recording.sources[0].source,
            " ".join(each.text.strip() for each in supervisions if each.text),
            speakers[0] if speakers else cut.id,
            LANGUAGES.get(stated.lower(), stated),
            split,
            (extra or {}) | {key: value for key, value in own.items() if value is not None},
            None if whole and channel is None else (cut.start, cut.start + cut.duration),
            channel,
        )


def _unusable(cut: Any) -> str:
    """The reason why a cut is not a plain part of a file, '' where it is one."""
    recording = getattr(cut, "recording", None)
    if recording is None:
        return "expected a cut of one recording, got a mixed, padded or feature-only cut"
    sources = recording.sources
    if len(sources) != 1 or sources[0].type != "file":
        kinds = ", ".join(source.type for source in sources)
        return f"expected one file, got {kinds}; write files with CutSet.save_audios"
    if recording.transforms:
        return "is changed when it is read; write files with CutSet.save_audios"
    return ""


def _unmatched(cut: Any) -> str:
    """The reason why a cut's sound is not that of its text, '' where it is."""
    of_cut, of_file = _channels(cut.channel), list(cut.recording.sources[0].channels)
    if not set(of_cut) <= set(of_file):
        return f"expected a channel of {of_file}, got {of_cut}"
    if len(of_cut) > 1 and set(of_cut) != set(of_file):
        return f"expected one channel, or all of {of_file}, got {of_cut}; make a cut of each"
    for each in cut.supervisions:
        if each.start < -_INSIDE or each.start + each.duration > cut.duration + _INSIDE:
            return (
                f"expected whole supervisions, got a part of {each.id!r}, {each.start:g} s to "
                f"{each.start + each.duration:g} s in a cut of {cut.duration:g} s"
            )
        if set(_channels(each.channel)) != set(of_cut):
            return (
                f"expected speech of the cut's channels {of_cut}, got {each.id!r} of "
                f"{_channels(each.channel)}; make a cut of each channel"
            )
    return ""


def _channels(channel: int | list[int]) -> list[int]:
    """Channels of a cut or a supervision, which lhotse gives as one or as several."""
    return [channel] if isinstance(channel, int) else list(channel)


def _channel(cut: Any) -> int | None:
    """The place of a cut's channel in its file, None where it is all of the file."""
    of_cut, of_file = _channels(cut.channel), list(cut.recording.sources[0].channels)
    return None if len(of_cut) == len(of_file) else of_file.index(of_cut[0])


def _left_out(audio: Iterable[Path], recordings: Any) -> Iterator[Skip]:
    """Recordings on disk that no manifest holds, for want of a transcript."""
    known = {str(each.id) for each in recordings}
    for path in sorted(audio):
        if path.stem not in known and not is_hidden(path.name):
            yield Skip(path.stem, f"{path}: has no transcript", "transcript")


def _prepared(prepare: Any) -> Any:
    """Lhotse's manifests of a corpus.

    Raises:
        ValueError: It found another layout than it expects.
    """
    try:
        return prepare()
    except (AssertionError, KeyError, OSError) as error:
        raise ValueError(f"lhotse could not read this corpus: {message_of(error)}") from error


def _lhotse(module: str) -> Any:
    """A module of lhotse.

    Raises:
        ValueError: It is not installed.
    """
    try:
        return import_module(f"lhotse.{module}")
    except ImportError as error:
        raise ValueError(
            f"expected lhotse, which is not installed: {install_command('lhotse')}"
        ) from error


@contextmanager
def _log_as_skips() -> Iterator[list[Skip]]:
    """Collect lhotse's warnings, its only trace of clips that it passes over."""
    skips: list[Skip] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.module != "qa":  # totals of clips that are listed one by one elsewhere
                skips.append(Skip("", record.getMessage(), "lhotse"))

    handler = Collect(logging.WARNING)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield skips
    finally:
        root.removeHandler(handler)
