"""The clips of a comparison of tokenizers and their phones, prepared once for all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from codec.audio.store import AudioStore
from codec.checks import require
from eval.protocols import Tokenizer as Codec
from recipes.corpora.aligned_splits import alignments_of
from recipes.corpora.manifest import MANIFEST_NAME, read_manifest, write_manifest
from recipes.runner.config import Config
from recipes.runner.schema import PrepareConfig, TrainTextConfig
from recipes.runner.stages import run_stage, stage_folder
from slm import TokenStore
from slm.data.alignment import Alignment, Unit, align_codes
from slm.text.tokenizer import Tokenizer, load_tokenizer

from .config import AdaptConfig

# Tokens a second above which generation's bounds, counted in codes, would cut phones short: at
# 60 a second the longest phone lasts 0.2 s.
MOST_OF_PHONES = 60.0


@dataclass(frozen=True)
class Phones:
    """The text model of phones and the units of every aligned clip, by split and id."""

    tokenizer: Tokenizer
    units: dict[str, dict[str, list[Unit]]]

    def of_codes(self, split: str, store: TokenStore) -> dict[str, Alignment]:
        """Give every code of a split's aligned clips to its phone, by id."""
        # Several codebooks are one stream: its own rate, which the last frames do not change.
        own, rate = self.units[split], store.frame_rate
        return {
            row["id"]: align_codes(own[row["id"]], row["num_codes"], rate)
            for row in store.rows
            if row["id"] in own
        }


def corpus_run(config: AdaptConfig) -> Config:
    """Settings of the stages whose results all tokenizers share."""
    corpus = config.corpus if config.sources is None else str(Path(config.run) / "selected")
    # A run folder of its own, whose other settings keep their defaults.
    return Config(
        corpus=corpus,
        run=str(Path(config.run) / "corpus"),
        seed=config.seed,
        threads=config.threads,
        prepare=PrepareConfig(limit=config.clips, loudness_dbfs=config.loudness_dbfs),
        train_text=TrainTextConfig(kind="phones", start=config.text_start, workers=0),
    )


def prepare_corpus(config: AdaptConfig) -> dict[str, AudioStore]:
    """Prepare the corpus as stores of equal loudness, by split.

    Raises:
        ValueError: No clip of train or of valid by the sources asked for.
    """
    settings = corpus_run(config)
    if config.sources is not None:
        rows = read_manifest(Path(config.corpus) / MANIFEST_NAME)
        chosen = [row for row in rows if row.extra.get("source") in config.sources]
        there = {row.split for row in chosen}
        expected = f"some with clips of train and valid in {config.corpus}"
        require({"train", "valid"} <= there, "sources", expected, config.sources)
        # The preparation asks for clips of every split; the comparison reads none of test.
        others = [row for row in rows if row.split not in there]
        write_manifest(Path(settings.corpus) / MANIFEST_NAME, [*chosen, *others[:1]])
    run_stage(settings, "prepare")
    folder = stage_folder(settings, "prepare")
    return {split: AudioStore(folder / split) for split in ("train", "valid")}


def prepare_phones(config: AdaptConfig) -> Phones | None:
    """Align the prepared clips with the phones of their texts; None where texts are pieces.

    Raises:
        ValueError: No clip of train could be aligned, or pocketsphinx is missing.
    """
    if config.text != "phones":
        return None
    settings = corpus_run(config)
    run_stage(settings, "train_text")
    folder = stage_folder(settings, "train_text")
    units = {split: alignments_of(folder, split) for split in ("train", "valid")}
    return Phones(load_tokenizer(folder), units)


def check_rate(tokenizer: Codec) -> None:
    """Refuse a tokenizer of more tokens a second than a model of phones can speak.

    Raises:
        ValueError: Names the tokenizer and its rate.
    """
    rate = tokenizer.tokens_per_second
    if rate > MOST_OF_PHONES:
        raise ValueError(
            f"{tokenizer.name}: expected at most {MOST_OF_PHONES:g} tokens a second with text: "
            f"phones, got {rate:g}; set text: pieces"
        )


def share_corpus(config: Config, shared: Path) -> None:
    """Link a prepared corpus into another run, whose stages find it as their own."""
    own = stage_folder(config, "prepare")
    if not own.exists():
        own.parent.mkdir(parents=True, exist_ok=True)
        own.symlink_to(shared.resolve(), target_is_directory=True)


def of_corpus(config: Config, adapt: AdaptConfig) -> Config:
    """The settings of another run on the comparison's clips, as they were prepared for it."""
    shared = corpus_run(adapt)
    return replace(
        config,
        corpus=shared.corpus,
        further_corpora=[],
        languages=None,
        seed=adapt.seed,
        threads=adapt.threads,
        prepare=shared.prepare,
    )
