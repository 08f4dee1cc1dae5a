"""Figures of an ablation's variants: reconstruct clips, score them, count their codes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from codec import HHCodec
from codec.audio import write_audio
from codec.audio.store import AudioStore
from codec.files import read_json, write_json
from codec.files.derived import digest_of
from codec.files.names import item_path
from codec.training.checkpoint import source_digest
from eval.metrics.readiness import obstacles
from eval.metrics.registry import make_metrics, split_names
from eval.protocols import Metric
from eval.recognition.whisper_ctranslate2 import whisper_recognizer
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.sound import Sound
from eval.tokens.codebook import count_codes, usage_from_counts
from recipes.runner.config import thread_count
from recipes.runner.stages import say, stage_folder

from .ablate_table import Variant
from .clip_sets import ClipGroup, ClipSet, group_clips, split_clips
from .decoded_mel import decoded_mel_metric

# Beside the figures of a set of clips: what they were measured from.
ORIGIN = "origin.json"
METRICS = ("stoi", "estoi", "mel_l1", "pitch")
# Of the papers' tables, where their weights are at hand.
WHERE_READY = ("utmos22", "speaker_sim")


def measured_metrics(arguments: argparse.Namespace) -> list[Metric]:
    """Make the metrics named, else the default ones and those that are ready beside them.

    Raises:
        ValueError: A name that there is not, a metric that cannot run, or words of decoded mels
            without a Whisper.
    """
    named = [] if arguments.metrics is None else make_metrics(split_names(arguments.metrics))
    wanted = [("--metrics", metric) for metric in named]
    if arguments.mel_words:
        wanted += [("--mel-words", metric) for metric in make_metrics(["wer_whisper"])]
    for option, metric in wanted:
        if missing := obstacles(metric):
            raise ValueError(f"{option}: {metric.info.id} cannot run: {'; '.join(missing)}")
    if arguments.metrics is not None:
        return named
    ready = [metric for metric in make_metrics(WHERE_READY) if not obstacles(metric)]
    return [*make_metrics(METRICS), *ready]


def clip_sets(
    variant: Variant, groups: Mapping[str, ClipGroup], split: str, limit: int | None
) -> list[ClipSet]:
    """Choose the clips to measure: of every group, or of the prepared split without groups."""
    if not groups:
        return [split_clips(stage_folder(variant.config, "prepare") / split, limit)]
    rate = variant.config.prepare.sample_rate
    return [group_clips(name, group, split, rate, limit) for name, group in groups.items()]


def measure(variant: Variant, clips: ClipSet, arguments: argparse.Namespace) -> None:
    """Reconstruct and score clips, and count the codes of all of them.

    Figures of the same codec, clips and metrics are kept.
    """
    config = variant.config
    folder = Path(config.run) / "measure" / clips.name
    torch.set_num_threads(thread_count(config))
    codec = HHCodec.from_pretrained(stage_folder(config, "train_codec") / "model")
    asked = [arguments.clips, arguments.metrics, config.seed]
    if arguments.mel_words:
        asked.append(whisper_recognizer().id)
    origin = measured_from(codec, clips.digest) | {"settings": digest_of(*asked)}
    note = folder / ORIGIN
    if (folder / "summary.json").is_file() and note.is_file() and read_json(note) == origin:
        return
    note.unlink(missing_ok=True)
    pairs, codes = [], []
    for clip in tqdm(clips.clips, desc=f"{variant.name}: reconstruct {clips.name}", unit="clip"):
        recording = torch.from_numpy(clip.read())[None]  # (1, T)
        clip_codes, _ = codec.encode(recording)
        codes.append(clip_codes.numpy())
        if clip.is_scored:
            voice, length = codec.encode_voice(recording), torch.tensor([recording.shape[1]])
            decoded, _ = codec.decode(clip_codes, lengths=length, voice=voice)
            path = item_path(folder / "audio", clip.id, ".flac")
            write_audio(path, decoded[0].numpy().astype(np.float32), codec.sample_rate)
            sound = Sound(recording[0].numpy(), codec.sample_rate)
            pairs.append(Pair(clip.id, sound, path, clip.text, clip.speaker))
    metrics = measured_metrics(arguments)
    if arguments.mel_words:
        metrics.append(decoded_mel_metric(codec))
    score_pairs(pairs, metrics, folder, num_workers=config.evaluate.workers, seed=config.seed)
    usage = usage_from_counts(count_codes(codes, codec.codebook_size), codec.frame_rate)
    write_json(folder / "codebook.json", usage.to_dict())
    # Written last: together with summary.json it marks the variant as measured.
    write_json(note, origin)


def measured_from(codec: HHCodec, clips: str) -> dict[str, str]:
    """Name the codec and the clips, by their digest, that figures are of."""
    return {"codec": codec.fingerprint, "clips": clips}


def measurements(
    variant: Variant, measured: Sequence[ClipSet] = ()
) -> Iterator[tuple[tuple[str, str], Path]]:
    """Find the sets of a variant whose figures are of its codec and clips as they are now.

    Others, as of a codec that was trained anew since, are named on stderr. Clips of a set that is
    not among `measured` and not a prepared split cannot be compared with those of now.

    Yields:
        Name of the variant and the set, and the folder of the figures.
    """
    folders = [path.parent for path in (Path(variant.config.run) / "measure").glob("*/*.json")]
    model = stage_folder(variant.config, "train_codec") / "model"
    codec = HHCodec.from_pretrained(model) if folders and model.is_dir() else None
    digests = {each.name: each.digest for each in measured}
    for folder in sorted(set(folders)):
        name, note = folder.name, folder / ORIGIN
        store = stage_folder(variant.config, "prepare") / name
        # A note is missing where measuring was cut off, and was plain text in earlier releases.
        before = read_json(note) if note.is_file() else None
        if codec is not None and isinstance(before, dict):
            kept = "" if "-" not in name else before.get("clips", "")
            digest = source_digest(AudioStore(store)) if store.is_dir() else digests.get(name, kept)
            now = measured_from(codec, digest)
            if digest and all(before.get(key) == value for key, value in now.items()):
                yield (variant.name, name), folder
                continue
        say(
            "ablate",
            f"{variant.name}: figures of {name} are left out, which are of another codec or of "
            f"other clips; measure it again with --split {name.partition('-')[0]}",
        )
