"""Transcripts -> run/train_text: a text model of SentencePiece pieces, or of aligned phones.

    python -m recipes.train_text recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

`train_text.kind=pieces` trains a SentencePiece model on the train split (`text.model`).
`train_text.kind=phones` writes a pronouncing lexicon (`lexicon.xz`) and aligns every split's clips
with their phones (`<split>.alignment.jsonl`); what could not be aligned is listed beside it.
"""

from __future__ import annotations

from pathlib import Path

from codec.audio.store import AudioStore
from recipes.corpora.forced_alignment import Aligner, align_split, dictionary_lines
from recipes.corpora.manifest import SPLITS
from recipes.runner.cli import stage_command
from recipes.runner.config import Config
from recipes.runner.stages import say, stage_folder, write_metrics
from slm import TextTokenizer
from slm.text.lexicon import LEXICON_NAME, Lexicon, read_dictionary
from slm.text.normalization import normalize_text

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
    tokenizer = TextTokenizer.train(
        texts, folder, languages=languages, vocab_size=settings.vocab_size, seed=config.seed
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


def phones(config: Config) -> Path:
    """Write the lexicon, then the alignments of every split."""
    folder = stage_folder(config, "train_text")
    # The rules are learnt once; aligning goes on where it was cut off.
    if not (folder / LEXICON_NAME).is_file():
        say("train_text", "learning letter-to-sound rules from the dictionary")
        found = read_dictionary(dictionary_lines())
        words = {word: found[word] for word in found if word.replace("'", "").isalpha()}
        Lexicon.learn(words, _NOTICE).save(folder)
    aligner = Aligner(Lexicon.load(folder))
    prepared = stage_folder(config, "prepare")
    figures = {
        split: align_split(
            AudioStore(prepared / split), folder, aligner, config.train_text.languages
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


if __name__ == "__main__":
    raise SystemExit(stage_command("train_text"))
