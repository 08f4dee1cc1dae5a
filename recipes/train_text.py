"""Transcripts -> run/train_text: a text model of SentencePiece pieces, or of aligned phones.

    python -m recipes.train_text recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

`train_text.kind=pieces` trains a SentencePiece model on the train split (`text.model`).
`train_text.kind=phones` writes a pronouncing lexicon (`lexicon.xz`) and aligns every split's clips
with their phones (`<split>.alignment.jsonl`); what could not be aligned is listed beside it.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before the imports below: a mistyped setting must not wait for torch.
    from recipes.runner.cli import stage_command

    raise SystemExit(stage_command("train_text"))

from pathlib import Path

from codec.audio.store import AudioStore
from codec.checks import require
from recipes.corpora.aligned_splits import align_split
from recipes.corpora.forced_alignment import Aligner, dictionary_lines
from recipes.corpora.manifest import SPLITS
from recipes.runner.config import Config
from recipes.runner.stages import say, stage_folder, write_metrics
from slm import TextTokenizer
from slm.model.speech_lm import pretrained_folder
from slm.text.lexicon import LEXICON_NAME, Lexicon, read_dictionary
from slm.text.normalization import normalize_text
from slm.text.tokenizer import Tokenizer, load_tokenizer

_NOTICE = (
    "The Carnegie Mellon Pronouncing Dictionary, as pocketsphinx ships it.\n"
    "Copyright (C) 1993-2015 Carnegie Mellon University. All rights reserved. BSD licence:\n"
    "http://www.speech.cs.cmu.edu/cgi-bin/cmudict"
)


def main(config: Config) -> Path:
    """Train the text model, or write the lexicon and align the clips.

    Raises:
        ValueError: No clip has a transcript, too few pieces were asked for, or pocketsphinx is
            missing.
    """
    if config.train_text.kind == "phones":
        return phones(config)
    folder = stage_folder(config, "train_text")
    rows = AudioStore(stage_folder(config, "prepare") / "train").rows
    spoken = [(normalize_text(row["text"], row["lang"]), row["lang"]) for row in rows]
    texts = [text for text, _ in spoken if text]
    languages = [language for text, language in spoken if text]
    settings = config.train_text
    require(bool(texts), "train_text", "clips of train with a text", "none")
    tokenizer = taken(config, folder) if settings.start else None
    if not isinstance(tokenizer, TextTokenizer):
        size, seed = settings.vocab_size, config.seed
        tokenizer = TextTokenizer.train(
            texts, folder, languages=languages, vocab_size=size, seed=seed
        )
    # Characters a piece: how much shorter texts become.
    pieces = sum(map(len, map(tokenizer.encode, texts, languages)))
    figures = {
        "texts": len(texts),
        "vocab_size": tokenizer.vocab_size,
        "characters_per_piece": sum(map(len, texts)) / pieces,
    }
    write_metrics(folder, figures)
    return folder


def taken(config: Config, folder: Path) -> Tokenizer:
    """Copy the text model of the language model `train_text.start` into the stage's folder.

    Raises:
        ValueError: It is of the other kind, or not there.
    """
    settings = config.train_text
    assert settings.start is not None
    tokenizer = load_tokenizer(pretrained_folder(settings.start))
    kind = "pieces" if isinstance(tokenizer, TextTokenizer) else "phones"
    require(settings.kind == kind, "train_text.kind", f"{kind}, as of start", settings.kind)
    tokenizer.save(folder)
    return tokenizer


def phones(config: Config) -> Path:
    """Write the lexicon, then the alignments of every split."""
    folder = stage_folder(config, "train_text")
    # The rules are learnt once; aligning goes on where it was cut off.
    if config.train_text.start:
        taken(config, folder)
    elif not (folder / LEXICON_NAME).is_file():
        say("train_text", "learning letter-to-sound rules from the dictionary")
        found = read_dictionary(dictionary_lines())
        words = {word: found[word] for word in found if word.replace("'", "").isalpha()}
        Lexicon.learn(words, _NOTICE).save(folder)
    aligner = Aligner(Lexicon.load(folder))
    prepared = stage_folder(config, "prepare")
    figures = {
        split: align_split(
            AudioStore(prepared / split),
            folder,
            aligner,
            config.train_text.languages,
            config.train_text.workers,
        )
        for split in SPLITS
    }
    if not figures["train"]["aligned"]:
        raise ValueError(
            f"train_text: expected clips of train with a text in {config.train_text.languages}, "
            f"got {figures['train']}"
        )
    write_metrics(folder, {"words": len(aligner.lexicon.words), **figures})
    return folder
