"""Prepared waveforms -> run/encode_corpus/{train,valid,test}: a token store per split.

    python -m recipes.encode_corpus recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

Shards appear whole: a run that was cut off goes on after its last shard.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from codec import HHCodec
from codec.chunking import encode_clip
from codec.store import AudioStore
from eval.codebook import usage
from slm import TokenStore, TokenStoreWriter

from .commands import stage_command
from .config import Config, thread_count
from .manifest import SPLITS
from .stages import stage_folder, write_metrics


def main(config: Config) -> Path:
    """Encode every split with the trained codec.

    Raises:
        ValueError: no codec or no prepared clips, or a store of another codec in the folder.
    """
    folder = stage_folder(config, "encode_corpus")
    torch.set_num_threads(thread_count(config))
    codec = HHCodec.from_pretrained(stage_folder(config, "train_codec") / "model")
    fingerprint = codec.fingerprint
    figures: dict[str, Any] = {"codec_fingerprint": fingerprint}
    for split in SPLITS:
        clips = AudioStore(stage_folder(config, "prepare") / split)
        writer = TokenStoreWriter(
            folder / split,
            codec_fingerprint=fingerprint,
            codebook_size=codec.codebook_size,
            frame_rate=codec.frame_rate,
            shard_codes=config.encode_corpus.shard_codes,
        )
        encode_split(codec, clips, writer)
        figures[split] = split_figures(TokenStore(folder / split, fingerprint))
    write_metrics(folder, figures)
    return folder


def encode_split(codec: HHCodec, clips: AudioStore, writer: TokenStoreWriter) -> None:
    """Encode the clips that no finished shard holds yet, in the store's order."""
    kept = ("start", "num_samples")
    for index, row in enumerate(tqdm(clips.rows, desc=clips.folder.name, unit="clip")):
        if row["id"] not in writer.done_ids:
            codes = encode_clip(codec, clips.waveform(index))
            writer.add(codes, {key: value for key, value in row.items() if key not in kept})
    writer.close()


def split_figures(store: TokenStore) -> dict[str, Any]:
    """How many codes a split holds and how its codebook is used."""
    codes = (store.codes(index) for index in range(len(store)))
    return {"clips": len(store)} | usage(codes, store.codebook_size, store.frame_rate).to_dict()


if __name__ == "__main__":
    raise SystemExit(stage_command("encode_corpus"))
