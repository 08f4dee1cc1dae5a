"""Text model and token store -> run/train_slm/model: a speech language model with its voices.

    python -m recipes.train_slm recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

Training leaves last.ckpt and metrics.jsonl in run/train_slm; a run that was cut off resumes, and
train_slm.resume_from names another checkpoint to go on from where that one was lost.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before the imports below: a mistyped setting must not wait for torch.
    from recipes.runner.cli import stage_command

    raise SystemExit(stage_command("train_slm"))

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from codec import HHCodec
from codec.audio.store import AudioStore
from codec.checks import require
from codec.devices import trained_on
from codec.distributed import process_rank
from codec.files import replaced_files
from codec.files.json_lines import write_json_lines
from recipes.corpora.aligned_splits import alignments_of
from recipes.corpora.manifest import SPLITS
from recipes.runner.config import Config, thread_count
from recipes.runner.language_model import new_speech_lm
from recipes.runner.schema import shared_fields
from recipes.runner.stages import say, stage_folder, write_metrics
from recipes.spoken_samples import SampleSpeaker
from slm import (
    PackedDataset,
    SpeechLM,
    SpeechLMConfig,
    TextTokenizer,
    TokenStore,
    TrainingSettings,
    fit_speech_lm,
)
from slm.data.alignment import Alignment, align_codes
from slm.data.prompt_probe import prompt_probe
from slm.data.transcription_probe import transcription_probe
from slm.generation.duration_prior import codes_per_character, duration_spread
from slm.model.code_init import init_codes_from_codebook
from slm.model.going_on import speech_lm_folder, started_from
from slm.model.likelihood import nats_per_code
from slm.model.llama_import import import_llama, llama_sizes, rows_of_pieces
from slm.model.model_folder import WEIGHTS
from slm.synthesis.voices import choose_voices, default_voice, load_voices, save_voices
from slm.text.tokenizer import Tokenizer, load_tokenizer
from slm.training.callbacks import VALID_NAME
from slm.training.config import Machines
from slm.training.lora import add_lora, merge_lora


def main(config: Config) -> Path:
    """Train the language model, save it, measure it on every split.

    Raises:
        ValueError: Settings that do not fit, or stores of different codecs or damaged ones.
    """
    folder = stage_folder(config, "train_slm")
    torch.set_num_threads(thread_count(config))
    encoded = stage_folder(config, "encode_corpus")
    # All of the run's codec, before any work: the model is bound to it.
    names = load_codec(config).code_fingerprints
    stores = {split: TokenStore(encoded / split, names) for split in SPLITS}
    if process_rank() == 0:
        for store in stores.values():
            store.check()
    tokenizer = load_tokenizer(stage_folder(config, "train_text"))
    lm = starting_lm(config, stores["train"], tokenizer)
    if config.train_slm.lora.rank:
        add_lora(lm, config.train_slm.lora, config.seed)
    rows = {split: packed_rows(config, stores[split], tokenizer, lm, split) for split in SPLITS}
    # Documents that do not fit into a packed row are listed, never cut.
    too_long = [{"split": split, **row} for split in SPLITS for row in rows[split].too_long]
    write_json_lines(folder / "too_long.jsonl", too_long)
    settings = config.train_slm
    fit_speech_lm(
        lm,
        rows["train"],
        folder,
        settings=training_settings(config),
        validation={
            VALID_NAME: list(rows["valid"].epoch_batches()),
            **prompt_probe(rows["valid"], settings.prompt_documents),
            **(transcription_probe(rows["valid"]) if lm.config.transcribes else {}),
        },
        resume_from=settings.resume_from,
        machines=Machines(**shared_fields(settings, Machines)),
        speak=sample_speaker(config, tokenizer, stores),
    )
    if process_rank() > 0:
        raise SystemExit(0)  # the first process measures and writes
    if settings.lora.rank:
        merge_lora(lm)
    say("train_slm", "measuring the likelihood of valid and test")
    lm.to(trained_on(settings.accelerator))  # a CPU would take hours for a model of a GPU's size
    figures: dict[str, Any] = {
        f"{split}_nats_per_code": nats_per_code(lm, rows[split].epoch_batches())
        for split in ("valid", "test")
    }
    for name, nats in figures.items():
        require(math.isfinite(nats), name, "a finite likelihood; lower learning_rate", nats)
    lm.to("cpu")
    with replaced_files(folder / "model", WEIGHTS) as partial:
        lm.save_pretrained(partial, tokenizer)
        save_model_voices(config, stores["train"], partial)
    figures |= {
        "parameters": lm.num_parameters,
        "train_padding": rows["train"].padding_fraction(),
        "too_long": len(too_long),
    }
    write_metrics(folder, figures)
    return folder


def sample_speaker(
    config: Config, tokenizer: Tokenizer, stores: dict[str, TokenStore]
) -> SampleSpeaker | None:
    """Make what speaks samples at every validation; None where none are wanted."""
    if not config.train_slm.samples:
        return None
    return SampleSpeaker(config, load_codec(config), tokenizer, stores)


def starting_lm(config: Config, train: TokenStore, tokenizer: Tokenizer) -> SpeechLM:
    """Make the model that training begins with: a trained one, or one whose codes have places."""
    settings = config.train_slm
    trained = speech_lm_folder(settings.start) if settings.start else None
    if trained is None:
        lm = build_lm(config, train, tokenizer)
        if settings.place_codes:
            init_codes_from_codebook(lm, load_codec(config).codebook, config.seed)
        return lm
    kept = SpeechLMConfig.load(trained / "config.yaml")
    changes = {
        # Rotary positions have no end of their own.
        "max_seq_len": max(kept.max_seq_len, settings.seq_len),
        "max_prompt_codes": settings.max_prompt_codes,
        **tasks_of(config),
        **settings.overrides,
    }
    codec = load_codec(config)
    codebook = codec.codebook if settings.start_other_codec else None
    return started_from(trained, train, tokenizer, codec.code_fingerprints, changes, codebook)


def save_model_voices(config: Config, train: TokenStore, folder: Path) -> None:
    """Write prompts of speakers of train beside a model, and those it had when it was started from.

    The one speaker of a train split becomes the voice of texts that ask for none.
    """
    settings = config.train_slm
    # Long enough for the model; the default of `choose_voices` where that is shorter.
    voices = choose_voices([train], max_codes=max(96, settings.max_prompt_codes))
    default = None
    trained = speech_lm_folder(settings.start) if settings.start else None
    if trained is not None:
        stored = SpeechLMConfig.load(trained / "config.yaml").codec_fingerprint
        is_own = stored in load_codec(config).code_fingerprints
        # Codes of another codec are other sounds.
        kept = load_voices(trained, stored) if is_own else {}
        kept_default = default_voice(trained) if is_own else None
        default = next(iter(voices)) if len(voices) == 1 else kept_default
        voices = kept | voices
    save_voices(folder, voices, train.codec_fingerprint, default)


def tasks_of(config: Config) -> dict[str, int | bool]:
    """Collect what a model's config tells of the documents it is trained on, {} for plain ones."""
    documents, found = config.train_slm.documents, dict[str, int | bool]()
    if documents.interleave_probability:
        # Sizes of turns of text and speech.
        names = ("interleave_text", "interleave_codes")
        found |= {name: getattr(documents, name) for name in names}
    return found | ({"transcribes": True} if documents.transcribe_probability else {})


def build_lm(config: Config, train: TokenStore, tokenizer: Tokenizer) -> SpeechLM:
    """Build a language model; its random weights depend on the seed alone."""
    settings = config.train_slm
    # Later sizes win: those of the run, of a text model to start from, of the overrides.
    sizes: dict[str, Any] = {
        "codes_per_character": codes_per_character([train]),
        "duration_spread": duration_spread([train]),
        "max_seq_len": settings.seq_len,
        "max_prompt_codes": settings.max_prompt_codes,
        # Durations at their own spread, whatever suits codes: drawn cold they get too short.
        "duration_temperature": 1.0,
        "duration_top_p": 1.0,
        **tasks_of(config),
    }
    if settings.start:
        sizes |= llama_sizes(settings.start)
    if settings.overrides.get("code_table"):
        if not settings.place_codes:
            raise ValueError("train_slm.place_codes: expected true with a code_table, got false")
        # Embeddings made from the codec's vectors need their width.
        sizes["codebook_dim"] = load_codec(config).codebook.shape[1]
    lm = new_speech_lm(
        settings.preset, train, tokenizer, config.seed, **(sizes | settings.overrides)
    )
    if settings.start:
        if not isinstance(tokenizer, TextTokenizer):
            raise ValueError("train_slm.start: expected train_text.kind = pieces, got phones")
        import_llama(lm, settings.start, text_rows=rows_of_pieces(tokenizer, settings.start))
    return lm


def load_codec(config: Config) -> HHCodec:
    """Load the codec of this run."""
    return HHCodec.from_pretrained(stage_folder(config, "train_codec") / "model")


def packed_rows(
    config: Config, store: TokenStore, tokenizer: Tokenizer, lm: SpeechLM, split: str
) -> PackedDataset:
    """Pack the documents of a split; only those of train are augmented."""
    settings = config.train_slm
    own = shared_fields(settings, type(settings.documents))
    documents = replace(settings.documents, lookahead=lm.config.lookahead, **own)
    return PackedDataset(
        [store],
        tokenizer,
        lm.vocabulary,
        seq_len=settings.seq_len,
        batch_size=settings.batch_size,
        settings=documents if split == "train" else documents.without_augmentation(),
        seed=config.seed,
        alignments=spoken_rows(config, store, split) if lm.config.is_aligned else None,
    )


def spoken_rows(config: Config, store: TokenStore, split: str) -> dict[str, Alignment]:
    """Read the units and their counts of the rows of a split that were aligned, by id.

    A row that was encoded from a later sample on, or played faster or slower, has the alignment of
    the row it is a copy of.
    """
    units = alignments_of(stage_folder(config, "train_text"), split)
    rate = AudioStore(stage_folder(config, "prepare") / split).sample_rate
    found = {}
    for row in store.rows:
        recorded = row.get("base_id") or row.get("recorded_id") or row["id"]
        if own := units.get(recorded):
            # Codes a second of the recording as it was spoken: played faster, it has fewer.
            of_speech = store.frame_rate / row.get("speed", 1.0)
            shift = row.get("shift", 0) / rate
            found[row["id"]] = align_codes(own, row["num_codes"], of_speech, shift)
    return found


def training_settings(config: Config) -> TrainingSettings:
    """Build the training settings of this run."""
    settings = config.train_slm
    own = shared_fields(settings, TrainingSettings)
    return replace(settings.training, max_steps=settings.steps, seed=config.seed, **own)
