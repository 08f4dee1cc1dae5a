"""Transcripts of the train split -> run/train_text/text.model, a SentencePiece model.

python -m recipes.train_text recipes/configs/mini.yaml corpus=../shared/speech run=runs/real
"""

from __future__ import annotations

from pathlib import Path

from codec.store import AudioStore
from slm import TextTokenizer

from .commands import stage_command
from .config import Config
from .stages import stage_folder, write_metrics


def main(config: Config) -> Path:
    """Train the text model.

    Raises:
        ValueError: no clip has a transcript, or too few pieces were asked for.
    """
    folder = stage_folder(config, "train_text")
    rows = AudioStore(stage_folder(config, "prepare") / "train").rows
    texts = [row["text"] for row in rows if row["text"].strip()]
    settings = config.train_text
    tokenizer = TextTokenizer.train(texts, folder, vocab_size=settings.vocab_size, seed=config.seed)
    pieces = sum(len(tokenizer.encode(text)) for text in texts)
    figures = {
        "texts": len(texts),
        "vocab_size": tokenizer.vocab_size,
        "characters_per_piece": sum(map(len, texts)) / pieces,
    }
    write_metrics(folder, figures)
    return folder


if __name__ == "__main__":
    raise SystemExit(stage_command("train_text"))
