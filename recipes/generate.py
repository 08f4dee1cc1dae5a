"""Codec and language model -> run/generate: reconstructed, spoken and continued recordings.

    python -m recipes.generate recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

Every folder below run/generate holds FLAC files and items.jsonl, which says what each of them is.
A run that was cut off keeps its reconstructions; speech is drawn again from the same seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from codec.audio import write_audio
from codec.store import AudioStore
from slm import GenerationSettings, Synthesis, Synthesizer, TokenStore

from .commands import stage_command
from .config import Config, thread_count
from .files import write_json_lines
from .schema import GenerateConfig
from .stages import stage_folder, write_metrics


@dataclass(frozen=True)
class Request:
    """A text of the valid split to speak, and a recording (T,) of its speaker."""

    row: dict[str, Any]
    prompt: NDArray[np.float32]
    prompt_id: str
    known_speaker: bool
    seed: int


def main(config: Config) -> Path:
    """Generate everything that the evaluation compares.

    Raises:
        ValueError: models that are missing or do not belong together.
    """
    folder = stage_folder(config, "generate")
    torch.set_num_threads(thread_count(config))
    synthesizer = Synthesizer.from_pretrained(
        stage_folder(config, "train_codec") / "model", stage_folder(config, "train_slm") / "model"
    )
    counts = {
        split: reconstruct(config, synthesizer, split, folder / "reconstructed" / split)
        for split in ("valid", "test")
    }
    spoken = speak(config, synthesizer, folder / "spoken")
    continued = continue_clips(config, synthesizer, folder / "continued")
    figures = {
        "reconstructed": counts,
        "spoken": len(spoken),
        "spoken_runaway": sum(item["truncated"] for item in spoken),
        "continued": len(continued),
    }
    write_metrics(folder, figures)
    return folder


def reconstruct(config: Config, synthesizer: Synthesizer, split: str, folder: Path) -> int:
    """Decode the codes of a split's clips; returns how many."""
    store = TokenStore(stage_folder(config, "encode_corpus") / split, synthesizer.codec.fingerprint)
    clips = AudioStore(stage_folder(config, "prepare") / split)
    samples = {row["id"]: row["num_samples"] for row in clips.rows}
    chosen = spread(list(range(len(store))), config.generate.reconstruct)
    for index in tqdm(chosen, desc=f"reconstruct {split}", unit="clip"):
        row = store.rows[index]
        path = folder / f"{row['id']}.flac"
        if not path.is_file():
            waveform = synthesizer.decode(store.codes(index).astype(np.int64))
            write_audio(path, waveform[: samples[row["id"]]], synthesizer.codec.sample_rate)
    rows = [store.rows[index] for index in chosen]
    write_json_lines(folder / "items.jsonl", rows)
    return len(rows)


def speak(config: Config, synthesizer: Synthesizer, folder: Path) -> list[dict[str, Any]]:
    """Speak texts of the valid split, each prompted by another recording of its speaker."""
    settings = sampling(config.generate)
    requests = choose_texts(config)
    items: list[dict[str, Any]] = []
    size = config.generate.batch_size
    for start in tqdm(range(0, len(requests), size), desc="speak", unit="batch"):
        batch = requests[start : start + size]
        made = synthesizer.tts_batch(
            [request.row["text"] for request in batch],
            prompts=[request.prompt for request in batch],
            seeds=[request.seed for request in batch],
            settings=settings,
        )
        for request, result in zip(batch, made, strict=True):
            result.save(folder / f"{request.row['id']}.flac")
            items.append(
                request.row
                | described(result)
                | {"prompt": request.prompt_id, "known_speaker": request.known_speaker}
            )
    write_json_lines(folder / "items.jsonl", items)
    return items


def continue_clips(config: Config, synthesizer: Synthesizer, folder: Path) -> list[dict[str, Any]]:
    """Continue the beginning of clips of the valid split that are long enough."""
    settings = config.generate
    clips = AudioStore(stage_folder(config, "prepare") / "valid")
    given = round(settings.given_seconds * clips.sample_rate)
    enough = [n for n, row in enumerate(clips.rows) if row["num_samples"] > 1.3 * given]
    items: list[dict[str, Any]] = []
    for index in tqdm(spread(enough, settings.continuations), desc="continue", unit="clip"):
        result = synthesizer.continue_speech(
            clips.crop(index, 0, given),
            settings.continue_seconds,
            seed=config.seed + index,
            settings=sampling(settings),
        )
        row = clips.rows[index]
        result.save(folder / f"{row['id']}.flac")
        items.append(row | described(result))
    write_json_lines(folder / "items.jsonl", items)
    return items


def choose_texts(config: Config) -> list[Request]:
    """Texts of valid whose speaker left another recording, known speakers first.

    The prompt of a known speaker is a training clip, that of another a different valid clip.
    """
    settings = config.generate
    prepared = stage_folder(config, "prepare")
    stores = {split: AudioStore(prepared / split) for split in ("train", "valid")}
    heard = {row["speaker"] for row in stores["train"].rows}
    requests: dict[bool, list[Request]] = {True: [], False: []}
    for index, row in enumerate(stores["valid"].rows):
        known = row["speaker"] in heard
        source = stores["train" if known else "valid"]
        others = [
            n
            for n, other in enumerate(source.rows)
            if other["speaker"] == row["speaker"]
            and other["id"] != row["id"]
            and other["num_samples"] >= settings.min_prompt_seconds * source.sample_rate
        ]
        if row["text"].strip() and others:
            pick = others[(config.seed + index) % len(others)]
            request = Request(
                row, source.waveform(pick), source.rows[pick]["id"], known, config.seed + index
            )
            requests[known].append(request)
    return [
        *spread(requests[True], settings.texts_known),
        *spread(requests[False], settings.texts_unseen),
    ]


def sampling(settings: GenerateConfig) -> GenerationSettings:
    """How codes are drawn."""
    return GenerationSettings(temperature=settings.temperature, top_p=settings.top_p)


def described(result: Synthesis) -> dict[str, Any]:
    """What items.jsonl says of generated speech."""
    return {
        "truncated": result.truncated,
        "seed": result.seed,
        "generated_duration": result.duration,
        "num_given_codes": result.num_given_codes,
        "log_likelihood": result.log_likelihood,
    }


def spread(items: list[Any], limit: int | None) -> list[Any]:
    """At most `limit` of the items, evenly spread over their order."""
    if limit is None or limit >= len(items):
        return items
    return [items[n * len(items) // limit] for n in range(limit)]


if __name__ == "__main__":
    raise SystemExit(stage_command("generate"))
