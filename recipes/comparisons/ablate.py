"""Variants of one codec, trained for the same budget and measured on the same clips.

    python -m recipes.comparisons.ablate recipes/configs/ablations corpus=../shared/speech
        run=runs/ablations

Every YAML file of the folder is a variant, a few lines laid over `base.yaml`, which is the variant
`full`. Each gets its own run folder, run/<variant>; the prepared corpus is shared. What is done is
skipped, what was cut off is resumed. Ends with run/ablation.md and run/ablation.json.

A full run at the paper's size needs LibriTTS (corpus=libritts), a base.yaml over hh_24khz.yaml with
the published vocoder and HuBERT that it names, HH_WEIGHT_UTMOS22_STRONG, and a GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from codec import HHCodec
from codec.audio import write_audio
from codec.audio.store import AudioStore
from codec.command_line import DONE, exit_status, name_list, whole_number
from codec.files import read_json, write_json
from codec.files.derived import digest_of
from codec.files.names import check_items, is_hidden, item_path
from codec.training.checkpoint import source_digest
from eval.metrics.readiness import obstacles
from eval.metrics.registry import make_metrics, split_names
from eval.protocols import Metric
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.sound import Sound
from eval.tokens.codebook import count_codes, usage_from_counts
from recipes.adaptability.corpus import share_corpus
from recipes.corpora.preparation import spread
from recipes.runner.cli import make_parser
from recipes.runner.config import Config, load_config, thread_count
from recipes.runner.stages import StageError, run_stage, say, stage_folder

from .ablate_table import FULL, PROGRAM, Variant, write_table

BASE = "base.yaml"
# Beside the figures of a split: what they were measured from.
ORIGIN = "origin.json"
METRICS = ("stoi", "estoi", "mel_l1", "pitch")
# Of the papers' tables, where their weights are at hand.
WHERE_READY = ("utmos22", "speaker_sim")


def main(argv: Sequence[str] | None = None) -> int:
    """Train and measure the variants; returns the exit status."""
    parser = make_parser(PROGRAM, __doc__ or "", schema=Config)
    parser.add_argument(
        "--only", type=name_list, help="names of variants, by commas (default: all)"
    )
    parser.add_argument("--split", default="valid", choices=("valid", "test"))
    parser.add_argument(
        "--clips", type=whole_number(1), default=None, help="clips measured (default: all)"
    )
    parser.add_argument(
        "--metrics",
        help=f"of hh-eval doctor's list (default: {','.join(METRICS)}; {','.join(WHERE_READY)} "
        "where ready)",
    )
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        variants = read_variants(Path(arguments.config), arguments.overrides)
        wanted = list(variants) if arguments.only is None else arguments.only
        unknown = [name for name in wanted if name not in variants]
        if unknown:
            raise StageError(f"--only: expected some of {list(variants)}, got {unknown}")
        measured_metrics(arguments.metrics)  # a wrong name is refused before any training
        for name in wanted:
            train(variants[name], variants[FULL])
            measure(variants[name], arguments)
        run = Path(variants[FULL].config.run).parent
        measured = {key: path for each in variants.values() for key, path in measurements(each)}
        table = write_table(list(variants.values()), measured, run, argv)
        table.print(as_json=arguments.json)
        return DONE

    return exit_status(work, debug=arguments.debug)


def read_variants(folder: Path, overrides: Sequence[str]) -> dict[str, Variant]:
    """Read the variants of a folder by name, `full` first.

    Raises:
        ValueError: No base.yaml, no run folder, two variants of one name, or settings that the
            schema refuses.
    """
    found = sorted(folder.glob("*.yaml"))
    paths = [folder / BASE, *(p for p in found if p.name != BASE and not is_hidden(p.name))]
    if not paths[0].is_file():
        raise StageError(f"{folder}: expected a folder with {BASE} and one YAML file a variant")
    check_items([FULL, *(path.stem for path in paths[1:])])
    run = Path(load_config(paths[0], overrides).run)
    variants = {}
    for path in paths:
        name = FULL if path.name == BASE else path.stem
        config = load_config(path, [*overrides, f"run={run / name}"])
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        comment = [line[1:].strip() for line in lines if line.startswith("#")]
        variants[name] = Variant(name, " ".join(comment), config)
    return variants


def train(variant: Variant, full: Variant) -> None:
    """Prepare the corpus once, then train the variant."""
    shared = stage_folder(full.config, "prepare")
    if not (shared / "done.json").is_file():
        run_stage(full.config, "prepare")
    share_corpus(variant.config, shared)
    say("ablate", f"{variant.name}: {variant.note}")
    run_stage(variant.config, "train_codec")


def measure(variant: Variant, arguments: argparse.Namespace) -> None:
    """Reconstruct and score a split's clips; count the codes of the whole split."""
    config, split = variant.config, arguments.split
    folder = Path(config.run) / "measure" / split
    torch.set_num_threads(thread_count(config))
    codec = HHCodec.from_pretrained(stage_folder(config, "train_codec") / "model")
    clips = AudioStore(stage_folder(config, "prepare") / split)
    # What the figures are of: another codec, other clips or metrics are measured again.
    origin = measured_from(codec, clips) | {
        "settings": digest_of(arguments.clips, arguments.metrics, config.seed)
    }
    note = folder / ORIGIN
    if (folder / "summary.json").is_file() and note.is_file() and read_json(note) == origin:
        return
    note.unlink(missing_ok=True)
    chosen = set(spread(range(len(clips)), arguments.clips))
    check_items((clips.rows[index]["id"] for index in chosen), ".flac")
    pairs, codes = [], []
    for index in tqdm(range(len(clips)), desc=f"{variant.name}: reconstruct {split}", unit="clip"):
        recording = torch.from_numpy(clips.waveform(index))[None]  # (1, T)
        clip_codes, _ = codec.encode(recording)
        codes.append(clip_codes.numpy())
        if index in chosen:
            row = clips.rows[index]
            voice, length = codec.encode_voice(recording), torch.tensor([recording.shape[1]])
            decoded, _ = codec.decode(clip_codes, lengths=length, voice=voice)
            path = item_path(folder / "audio", row["id"], ".flac")
            write_audio(path, decoded[0].numpy().astype(np.float32), codec.sample_rate)
            sound = Sound(recording[0].numpy(), codec.sample_rate)
            pairs.append(Pair(row["id"], sound, path, row["text"], row["speaker"]))
    score_pairs(
        pairs,
        measured_metrics(arguments.metrics),
        folder,
        num_workers=config.evaluate.workers,
        seed=config.seed,
    )
    usage = usage_from_counts(count_codes(codes, codec.codebook_size), codec.frame_rate)
    write_json(folder / "codebook.json", usage.to_dict())
    # Written last: together with summary.json it marks the variant as measured.
    write_json(note, origin)


def measured_from(codec: HHCodec, clips: AudioStore) -> dict[str, str]:
    """Name the codec and the clips that figures are of."""
    return {"codec": codec.fingerprint, "clips": source_digest(clips)}


def measurements(variant: Variant) -> Iterator[tuple[tuple[str, str], Path]]:
    """Find the splits of a variant whose figures are of its codec and clips as they are now.

    Others, as of a codec that was trained anew since, are named on stderr.

    Yields:
        Name of the variant and the split, and the folder of the figures.
    """
    folders = [path.parent for path in (Path(variant.config.run) / "measure").glob("*/*.json")]
    model = stage_folder(variant.config, "train_codec") / "model"
    codec = HHCodec.from_pretrained(model) if folders and model.is_dir() else None
    for folder in sorted(set(folders)):
        split, note = folder.name, folder / ORIGIN
        store = stage_folder(variant.config, "prepare") / split
        # A note is missing where measuring was cut off, and was plain text in earlier releases.
        before = read_json(note) if note.is_file() else None
        if codec is not None and store.is_dir() and isinstance(before, dict):
            now = measured_from(codec, AudioStore(store))
            if all(before.get(name) == value for name, value in now.items()):
                yield (variant.name, split), folder
                continue
        say(
            "ablate",
            f"{variant.name}: figures of {split} are left out, which are of another codec or of "
            f"other clips; measure it again with --split {split}",
        )


def measured_metrics(names: str | None) -> list[Metric]:
    """Make the metrics named, else the default ones and those that are ready beside them."""
    if names is not None:
        return make_metrics(split_names(names))
    ready = [metric for metric in make_metrics(WHERE_READY) if not obstacles(metric)]
    return [*make_metrics(METRICS), *ready]


if __name__ == "__main__":
    raise SystemExit(main())
