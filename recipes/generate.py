"""Codec and language model -> run/generate: reconstructed, spoken and continued recordings.

    python -m recipes.generate recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

Every folder below run/generate holds FLAC files and items.jsonl, with the text, speaker and codes
of each. `spoken` and `continued/made` hold the prompts and the recordings, too, so that other
metrics need no more than

    hh-eval tts runs/real/generate/spoken/items.jsonl runs/real/generate/spoken
    hh-eval tts runs/real/generate/continued/made/items.jsonl runs/real/generate/continued/made

A run that was cut off keeps its reconstructions; speech is drawn again from the same seeds.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before the imports below: a mistyped setting must not wait for torch.
    from recipes.runner.cli import stage_command

    raise SystemExit(stage_command("generate"))

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from codec.audio import AudioError, read_audio, write_audio
from codec.audio.store import AudioStore
from codec.devices import usable_device
from codec.files.json_lines import write_json_lines
from codec.files.names import check_items, item_path
from recipes.corpora.preparation import spread
from recipes.runner.config import Config, thread_count
from recipes.runner.schema import GenerateConfig
from recipes.runner.stages import stage_folder, write_metrics
from slm import GenerationSettings, SpeechRequest, Synthesis, Synthesizer, TokenStore
from slm.generation.best_of import Verifier
from slm.synthesis.long_text import speak_best

from .speech_requests import Request, check_names, choose_texts, names_below
from .verifiers import make_verifiers


def main(config: Config) -> Path:
    """Generate everything that the evaluation compares.

    Raises:
        ValueError: A verifier or a device that cannot be used here, or models that are missing or
            do not belong together.
    """
    folder = stage_folder(config, "generate")
    settings = config.generate
    device = usable_device(settings.device)
    verifiers: dict[str, Verifier] = {}
    if settings.best_of > 1:
        verifiers = make_verifiers(settings.verifiers, settings.verifier_words)
    torch.set_num_threads(thread_count(config))
    synthesizer = Synthesizer.from_pretrained(
        stage_folder(config, "train_codec") / "model", stage_folder(config, "train_slm") / "model"
    ).to(device)
    counts = {
        split: reconstruct(config, synthesizer, split, folder / "reconstructed" / split)
        for split in ("valid", "test")
    }
    spoken_items = speak(config, synthesizer, folder, verifiers)
    continued = continue_clips(config, synthesizer, folder / "continued")
    figures = {
        "reconstructed": counts,
        "spoken": len(spoken_items),
        "spoken_runaway": sum(item["truncated"] for item in spoken_items),
        "continued": len(continued),
    }
    write_metrics(folder, figures)
    return folder


def reconstruct(config: Config, synthesizer: Synthesizer, split: str, folder: Path) -> int:
    """Decode the codes of a split's clips; returns their number."""
    encoded = stage_folder(config, "encode_corpus") / split
    store = TokenStore(encoded, synthesizer.codec.code_fingerprints)
    clips = AudioStore(stage_folder(config, "prepare") / split)
    samples = {row["id"]: row["num_samples"] for row in clips.rows}
    chosen = spread(range(len(store)), config.generate.reconstruct)
    check_items((store.rows[index]["id"] for index in chosen), ".flac")
    for index in tqdm(chosen, desc=f"reconstruct {split}", unit="clip"):
        row = store.rows[index]
        # A run that was cut off keeps the files it has, where they are whole.
        path = item_path(folder, row["id"], ".flac")
        wanted = samples[row["id"]], synthesizer.codec.sample_rate
        if not has_length(path, *wanted):
            waveform = synthesizer.decode(store.codes(index).astype(np.int64))
            # The last code may reach past the clip's end.
            write_audio(path, waveform[: wanted[0]], wanted[1])
    rows = [store.rows[index] | {"codes": store.codes(index).tolist()} for index in chosen]
    write_json_lines(folder / "items.jsonl", rows)
    return len(rows)


def has_length(path: Path, num_samples: int, sample_rate: int) -> bool:
    """Whether a file is a whole recording of this length; False where there is none."""
    try:
        # All of it is read: the header of a FLAC file says nothing of a cut within a frame.
        return path.is_file() and len(read_audio(path, sample_rate)) == num_samples
    except AudioError:  # somebody has cut it, or written something else
        return False


def speak(
    config: Config, synthesizer: Synthesizer, folder: Path, verifiers: Mapping[str, Verifier]
) -> list[dict[str, Any]]:
    """Speak texts into `folder`/spoken, each prompted by another recording of its speaker.

    Where the best of several is kept, the first lies in `folder`/spoken_first.
    """
    settings = config.generate
    requests = choose_texts(config)
    check_names(requests)
    recordings = AudioStore(stage_folder(config, "prepare") / settings.split)
    rate, frame_rate = recordings.sample_rate, synthesizer.codec.frame_rate
    items: dict[str, list[dict[str, Any]]] = {"spoken": []}
    if verifiers:
        items["spoken_first"] = []
    # Candidates of one text make a batch of their own.
    size = 1 if verifiers else settings.batch_size
    for start in tqdm(range(0, len(requests), size), desc="speak", unit="batch"):
        batch = requests[start : start + size]
        made = synthesize(synthesizer, batch, settings, verifiers)
        for request, results in zip(batch, made, strict=True):
            name = request.row["id"]
            files = {
                "prompt": f"prompts/{request.prompt_id}.flac",
                "reference": f"recordings/{name}.flac",
            }
            about = {"prompt_id": request.prompt_id, "known_speaker": request.known_speaker}
            for (kind, kept), result in zip(items.items(), results, strict=False):
                into = folder / kind
                result.save(item_path(into, name, ".flac"))
                prompt = item_path(into / "prompts", request.prompt_id, ".flac")
                write_audio(prompt, request.prompt, rate)
                reference = item_path(into / "recordings", name, ".flac")
                write_audio(reference, recordings.waveform(request.index), rate)
                kept.append(request.row | described(result, frame_rate) | files | about)
    for kind, kept in items.items():
        write_json_lines(folder / kind / "items.jsonl", kept)
    return items["spoken"]


def synthesize(
    synthesizer: Synthesizer,
    batch: list[Request],
    settings: GenerateConfig,
    verifiers: Mapping[str, Verifier],
) -> list[tuple[Synthesis, ...]]:
    """Synthesize requests: one result of each, or the best of several and the first of them."""
    drawn = GenerationSettings(
        temperature=settings.temperature,
        top_p=settings.top_p,
        duration_temperature=settings.duration_temperature,
        duration_top_p=settings.duration_top_p,
        guidance=settings.guidance,
        prompt_guidance=settings.prompt_guidance,
    )
    if verifiers:
        found = [
            speak_best(
                synthesizer,
                request.row["text"],
                settings.best_of,
                verifiers,
                prompt=request.prompt,
                seed=request.seed,
                language=request.language,
                speed=settings.speed,
                settings=drawn,
            )
            for request in batch
        ]
        return [(each.best, each.candidates[0]) for each in found]
    requests = [
        SpeechRequest(
            request.row["text"],
            request.prompt,
            seed=request.seed,
            language=request.language,
            speed=settings.speed,
        )
        for request in batch
    ]
    made = synthesizer.synthesize(requests, settings=drawn)
    return [(each,) for each in made]


def continue_clips(config: Config, synthesizer: Synthesizer, folder: Path) -> list[dict[str, Any]]:
    """Continue the beginning of clips of the valid split that are long enough.

    Continuations lie by themselves in `made`, beside the given part and the true continuation.
    """
    settings = config.generate
    clips = AudioStore(stage_folder(config, "prepare") / "valid")
    given = round(settings.given_seconds * clips.sample_rate)
    # Long enough that something remains to compare the continuation with.
    enough = [n for n, row in enumerate(clips.rows) if row["num_samples"] > 1.3 * given]
    items: list[dict[str, Any]] = []
    alone: list[dict[str, Any]] = []
    most = round(settings.continue_seconds * clips.sample_rate)
    chosen = spread(enough, settings.continuations)
    names = [clips.rows[index]["id"] for index in chosen]
    check_items([*names, *names_below(("made", "made/given", "made/recordings"), names)], ".flac")
    for index in tqdm(chosen, desc="continue", unit="clip"):
        result = synthesizer.continue_speech(
            clips.crop(index, 0, given),
            settings.continue_seconds,
            seed=config.seed + index,
            settings=continued_sampling(settings),
        )
        row, rate = clips.rows[index], clips.sample_rate
        name, about = f"{row['id']}.flac", described(result, synthesizer.codec.frame_rate)
        result.save(item_path(folder, row["id"], ".flac"))
        items.append(row | about)
        # The part that the model made, without the codes it was given.
        made = result.waveform[result.num_given_codes * synthesizer.codec.hop_length :]
        rest = clips.crop(index, given, min(most, row["num_samples"] - given))
        parts = {"prompt": f"given/{name}", "reference": f"recordings/{name}"}
        # Where the model ended at once there is no file, which counts as failed.
        if len(made):
            write_audio(folder / "made" / name, made, rate)
        else:
            (folder / "made" / name).unlink(missing_ok=True)
        write_audio(folder / "made" / parts["prompt"], clips.crop(index, 0, given), rate)
        write_audio(folder / "made" / parts["reference"], rest, rate)
        kept = {"id": row["id"], "speaker": row["speaker"]}
        alone.append(kept | {key: about[key] for key in ("codes", "frame_rate", "seed")} | parts)
    write_json_lines(folder / "items.jsonl", items)
    write_json_lines(folder / "made" / "items.jsonl", alone)
    return items


def continued_sampling(settings: GenerateConfig) -> GenerationSettings:
    """Build the settings by which continuations are drawn."""
    temperature, top_p = settings.continue_temperature, settings.continue_top_p
    return GenerationSettings(
        temperature=settings.temperature if temperature is None else temperature,
        top_p=settings.top_p if top_p is None else top_p,
    )


def described(result: Synthesis, frame_rate: float) -> dict[str, Any]:
    """Build the fields of items.jsonl of generated speech; `codes` are those that were made."""
    return {
        "codes": result.codes[result.num_given_codes :].tolist(),
        "frame_rate": frame_rate,
        "truncated": result.truncated,
        "rejected": list(result.rejected),
        "seed": result.seed,
        "generated_duration": result.duration,
        "num_given_codes": result.num_given_codes,
        "log_likelihood": result.log_likelihood,
    }
