"""Prepared waveforms -> run/encode_corpus/{train,valid,test}: a token store per split.

    python -m recipes.encode_corpus recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

`encode_corpus.engine=ray` does the same on a cluster (docs/guides/encoding_at_scale.md). Shards are
planned before any is computed and appear whole: a run that was cut off makes those that are
missing. Recordings that could not be read are listed in `bad_files.jsonl`, and such a run tries
them again.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before the imports below: a mistyped setting must not wait for torch.
    from recipes.runner.cli import stage_command

    raise SystemExit(stage_command("encode_corpus"))

import math
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from codec import HHCodec
from codec.files.json_lines import write_json_lines
from eval.tokens.codebook import usage
from recipes.corpora.load import load_corpus
from recipes.corpora.manifest import SPLITS
from recipes.corpora.preparation import select_rows, too_many_unreadable
from recipes.encoding.clips import Clip, Copies, prepared_clips, recorded_clips
from recipes.encoding.cluster import encode_on_ray
from recipes.encoding.local import choose_device, encode_locally
from recipes.encoding.plan import Batch, Coded, Shard, plan_batches, plan_shards
from recipes.runner.config import Config, thread_count
from recipes.runner.stages import say, stage_folder, write_metrics
from slm import TokenStore
from slm.data.shards import ShardWriter


def main(config: Config) -> Path:
    """Encode every split with the trained codec.

    Raises:
        ValueError: No codec, one with a voice code, no clips, a store of another codec in the
            folder, or more unreadable recordings than `prepare.max_unreadable` allows.
        OSError: The cluster could not encode a batch.
    """
    folder = stage_folder(config, "encode_corpus")
    codec = HHCodec.from_pretrained(stage_folder(config, "train_codec") / "model")
    codec.config.voice.refuse("encode_corpus, whose stores hold codes alone")
    names = codec.code_fingerprints
    shards = plan(config, codec.hop_length)
    writers = {
        split: ShardWriter(
            folder / split,
            codec_fingerprint=names,
            codebook_size=codec.codebook_size,
            frame_rate=codec.frame_rate,
        )
        for split in SPLITS
    }
    # A shard on disk counts when it is of this very plan and none of its recordings was unreadable.
    missing = [each for each in shards if not writers[each.split].is_done(each.index, each.plan)]
    say("encode_corpus", f"{len(missing)} of {len(shards)} shards are to be made")
    figures: dict[str, Any] = {"codec_fingerprint": names[0]}
    if missing:
        figures["encoding"] = encode_shards(config, codec, shards, missing, writers)
    for split in SPLITS:
        writers[split].close(sum(shard.split == split for shard in shards))
        store = TokenStore(folder / split, names)
        codes = (store.codes(index) for index in range(len(store)))
        used = usage(codes, store.codebook_size, store.frame_rate).to_dict()
        figures[split] = {"clips": len(store)} | used
    write_metrics(folder, figures)
    return folder


def plan(config: Config, hop_length: int) -> list[Shard]:
    """Plan every shard of every split, a function of clips and `encode_corpus.shard_codes` alone.

    Raises:
        ValueError: A split without clips.
    """
    settings = config.encode_corpus
    prepared = stage_folder(config, "prepare")
    rows = select_rows(load_corpus(config, prepared), config)[0] if settings.recordings else []
    shards: list[Shard] = []
    for split in SPLITS:
        # Copies are a kind of augmentation: held-out splits have none.
        copies = Copies(settings.shifts, settings.speeds, settings.shift_select)
        copies = copies if split == "train" else Copies()
        clips: list[Clip]
        if settings.recordings:
            own = [row for row in rows if row.split == split]
            clips = recorded_clips(own, config, hop_length, copies)
        else:
            clips = prepared_clips(prepared / split, hop_length, copies)
        if not clips:
            raise ValueError(f"no clip is in split {split!r} of corpus {config.corpus!r}")
        shards += plan_shards(split, clips, settings.shard_codes)
    return shards


def encode_shards(
    config: Config,
    codec: HHCodec,
    shards: Sequence[Shard],
    missing: Sequence[Shard],
    writers: Mapping[str, ShardWriter],
) -> dict[str, Any]:
    """Make the missing shards.

    Returns:
        Figures of speed, in which the start of processes and actors counts.

    Raises:
        ValueError: Too many recordings are unreadable.
    """
    most = round(config.encode_corpus.batch_seconds * codec.frame_rate)
    batches = [batch for shard in missing for batch in plan_batches(shard, most)]
    start = time.perf_counter()
    arrivals: list[float] = []
    bad: list[dict[str, Any]] = []
    samples = 0
    allowed = math.floor(config.prepare.max_unreadable * sum(len(each.clips) for each in shards))
    # Closing the generator stops its processes, also where too many recordings are unreadable.
    try:
        with closing(computed(config, batches)) as coded:
            shown = _watched(coded, missing, codec.frame_rate, arrivals)
            for shard, found in whole_shards(missing, shown):
                bad += write_shard(writers[shard.split], shard, found)
                samples += sum(num_samples for _, num_samples, _ in found)
                if len(bad) > allowed:
                    advice = "mend them, see that every node reads the same paths, or raise "
                    advice += "prepare.max_unreadable; shards that lack them are made again"
                    raise ValueError(too_many_unreadable(bad, config, advice))
    finally:
        write_json_lines(stage_folder(config, "encode_corpus") / "bad_files.jsonl", bad)
    # `arrivals` tells the start of processes and the load of models from the work itself.
    seconds = time.perf_counter() - start
    hours = samples / codec.sample_rate / 3600
    return {
        "engine": config.encode_corpus.engine,
        "hours": round(hours, 4),
        "seconds": round(seconds, 2),
        "first_batch_seconds": round(arrivals[0] - start, 2),
        "hours_an_hour": round(hours / seconds * 3600, 2),
        "bad_files": len(bad),
    }


def computed(config: Config, batches: Sequence[Batch]) -> Generator[Coded, None, None]:
    """Start the engine; yields the batches in its own order."""
    settings = config.encode_corpus
    source = stage_folder(config, "train_codec") / "model"
    if settings.engine == "ray":
        return encode_on_ray(
            batches,
            source,
            address=settings.address,
            device=settings.device,
            workers=settings.workers,
            cores=thread_count(config),
        )
    gpus = torch.cuda.device_count()
    device = choose_device(settings.device, gpus)
    workers = settings.workers or (gpus if device == "cuda" else thread_count(config))
    note = stage_folder(config, "encode_corpus") / ".working_on"
    return encode_locally(batches, str(source), device, workers, note)


def whole_shards(
    missing: Sequence[Shard], results: Iterable[Coded]
) -> Iterator[tuple[Shard, list[tuple[Any, int, str]]]]:
    """Yield shards once their last batch is there, with codes, samples and reason of each clip."""
    waiting = {(shard.split, shard.index): shard for shard in missing}
    found: dict[tuple[str, int], dict[int, tuple[Any, int, str]]] = {key: {} for key in waiting}
    for coded in results:
        key = (coded.batch.split, coded.batch.shard)
        # A cluster that lost an answer may compute a batch twice.
        if key not in waiting:
            continue
        clips = zip(coded.codes, coded.num_samples, coded.reasons, strict=True)
        found[key].update(zip(coded.batch.positions, clips, strict=True))
        if len(found[key]) == len(waiting[key].clips):
            shard, parts = waiting.pop(key), found.pop(key)
            yield shard, [parts[position] for position in range(len(parts))]
    assert not waiting, f"the engine left out batches of {sorted(waiting)[:3]}"


def write_shard(
    writer: ShardWriter, shard: Shard, found: Sequence[tuple[Any, int, str]]
) -> list[dict[str, Any]]:
    """Write one shard; returns a record with the reason for each recording that it lacks."""
    codes, rows, bad = [], [], []
    for clip, (its_codes, num_samples, reason) in zip(shard.clips, found, strict=True):
        if its_codes is None:
            bad.append({"id": clip.row["id"], "reason": reason})
            continue
        codes.append(its_codes)
        rows.append(clip.row | clip.source.known(num_samples))
    writer.write(shard.index, codes, rows, plan=shard.plan, bad=bad)
    return [{"split": shard.split, **each} for each in bad]


def _watched(
    coded: Iterable[Coded], missing: Sequence[Shard], frame_rate: float, arrivals: list[float]
) -> Iterator[Coded]:
    """The batches as they are, with a bar of hours; the time of each goes to `arrivals`."""
    lengths = {
        (shard.split, shard.index): [clip.num_codes for clip in shard.clips] for shard in missing
    }
    total = sum(map(sum, lengths.values())) / frame_rate / 3600
    form = (
        "{desc}: {percentage:3.0f}%|{bar}| {n:.3f}/{total:.3f} h [{elapsed}<{remaining}{postfix}]"
    )
    with tqdm(desc="encode", total=total, bar_format=form, file=sys.stderr, mininterval=1) as bar:
        for batch in coded:
            arrivals.append(time.perf_counter())
            clips = lengths[batch.batch.split, batch.batch.shard]
            hours = sum(clips[each] for each in batch.batch.positions) / frame_rate / 3600
            # A batch that comes again, and the rounding of a sum, do not pass the whole.
            bar.update(min(hours, total - bar.n))
            yield batch
