"""Words and pseudo-words, spoken alike: pairs for `recipes.comparisons.likelihood_tests`.

    python -m recipes.comparisons.word_pairs recipes/configs/word_pairs.yaml
        corpus=../shared/speech model=KOKORO run=runs/words
    python -m recipes.comparisons.likelihood_tests recipes/configs/likelihood_tests.yaml
        pairs=runs/words/pairs.jsonl codec=CODEC lm=LM run=runs/words/LM

After sWUGGY (https://arxiv.org/abs/2011.11588), whose recordings cannot be had everywhere: words of
a corpus's transcripts, each beside a pseudo-word that differs by one phone
(`eval.likelihood_tests.pseudowords`), both spoken by the same voice of Kokoro at the same speed.
Writes run/audio and run/pairs.jsonl, the same for the same settings; a call that was cut off goes
on. SYNTHETIC: figures do not hold for human speech.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from omegaconf import MISSING
from tqdm import tqdm

from codec.audio import write_audio
from codec.checks import at_least, require
from codec.command_line import DONE, exit_status
from eval.likelihood_tests.pairs import LikelihoodPair, write_pairs
from eval.likelihood_tests.pseudowords import Pseudoword, PseudowordMaker, pair_words
from recipes.corpora.kokoro_model import SAMPLE_RATE, Kokoro
from recipes.corpora.manifest import MANIFEST_NAME, SPLITS, read_manifest
from recipes.runner.cli import make_parser
from recipes.runner.config import load_settings
from recipes.runner.run_folder import own_folder
from slm.model.model_folder import pretrained_folder
from slm.text.lexicon import Lexicon

SUITE = "words"
# Letters of Kokoro: vowels, diphthongs among them, marks of stress and length, and phones that may
# be one sound.
VOWELS, STRESS, MARKS = "aeiouæɑɒɔəɛɜɪʊʌɨᵊᵻAIOQWY", "ˈˌ", "ˈˌːʰ"  # noqa: RUF001
ALIKE = ("tTd", "ɪiᵻɨ", "əʌᵊɜ", "ɔɑɒ")  # noqa: RUF001


@dataclass
class WordPairsConfig:
    """The words, and the voices that speak them."""

    run: str = MISSING
    # Folder with manifest.jsonl: words of the transcripts of `split`, those that were learnt from.
    corpus: str = MISSING
    split: str = "train"
    # Folder of Kokoro (see recipes/corpora/kokoro_model.py).
    model: str = MISSING
    # Language model whose lexicon lists the words that no pseudo-word may be: a name or a folder.
    lexicon: str = "hh-mini-slm-v2"
    # Voices of Kokoro, and pairs of each; every voice has words of its own draw.
    voices: list[str] = field(default_factory=lambda: ["af_heart", "am_michael"])
    per_voice: int = 100
    # Times that a word occurs in the transcripts, and its phones, at least.
    least_count: int = 2
    least_phones: int = 5
    # Of speech; 1 is the voice's own.
    speed: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        at_least("per_voice", self.per_voice, 1)
        at_least("least_count", self.least_count, 1)
        at_least("least_phones", self.least_phones, 2)
        require(self.split in SPLITS, "split", f"one of {', '.join(SPLITS)}", self.split)
        require(0.5 <= self.speed <= 2.0, "speed", "0.5 to 2", self.speed)
        require(bool(self.voices), "voices", "a voice or more", self.voices)


def main(config: WordPairsConfig) -> Path:
    """Choose words, make pseudo-words, speak what is missing; returns the pairs' manifest.

    Raises:
        ValueError: A package, a file or a voice is missing, too few words, settings that changed.
    """
    run = Path(config.run)
    with own_folder(config, run):
        lexicon = Lexicon.load(pretrained_folder(config.lexicon))
        words = [word for word in words_of(config) if word in lexicon]
        pairs: list[LikelihoodPair] = []
        with Kokoro(Path(config.model)) as kokoro:
            unknown = sorted(set(config.voices) - set(kokoro.voices))
            require(not unknown, "voices", f"some of {', '.join(kokoro.voices)}", unknown)
            makers: dict[str, PseudowordMaker] = {}
            for voice in dict.fromkeys(config.voices):
                accent = voice[0]  # American or British
                if accent not in makers:
                    makers[accent] = _maker(kokoro, voice, [*words, *lexicon.words])
                made = _pairs_of(config, kokoro, voice, words, makers[accent])
                bar = tqdm(made, voice, unit="pair", mininterval=5)
                pairs += [_spoken(run, kokoro, voice, config.speed, each) for each in bar]
        return write_pairs(run / "pairs.jsonl", pairs)


def words_of(config: WordPairsConfig) -> list[str]:
    """Words of letters alone that occur often enough in the English transcripts of the split.

    Raises:
        ValueError: There is none.
    """
    rows = read_manifest(Path(config.corpus) / MANIFEST_NAME)
    english = [row for row in rows if row.split == config.split and row.lang.startswith("en")]
    said = (row.text.lower().split() for row in english)
    counts = Counter(word.strip(".,;:!?\"()") for line in said for word in line)  # fmt: skip
    words = sorted(w for w, n in counts.items() if n >= config.least_count and w.isalpha())
    wanted = f"words that occur {config.least_count} times in the split {config.split}"
    require(bool(words), "corpus", wanted, len(words))
    return words


def _maker(kokoro: Kokoro, voice: str, words: Sequence[str]) -> PseudowordMaker:
    """A maker of the words of a dictionary, in the letters and the accent of a voice."""
    bar = tqdm(words, f"{voice}: dictionary", unit="word", mininterval=5)
    return PseudowordMaker(
        (_pronounced(kokoro, word, voice) for word in bar), VOWELS, MARKS, STRESS, ALIKE
    )


def _pronounced(kokoro: Kokoro, word: str, voice: str) -> str:
    """A word in the letters of Kokoro."""
    return kokoro.spoken(kokoro.phones(word, voice))


def _pairs_of(
    config: WordPairsConfig,
    kokoro: Kokoro,
    voice: str,
    words: Sequence[str],
    maker: PseudowordMaker,
) -> list[tuple[str, str, Pseudoword]]:
    """Words of a voice with their phones and their pseudo-words."""
    return pair_words(
        words,
        lambda word: _pronounced(kokoro, word, voice),
        maker,
        config.per_voice,
        Random(f"{config.seed}/{voice}"),
        config.least_phones,
    )


def _spoken(
    run: Path, kokoro: Kokoro, voice: str, speed: float, made: tuple[str, str, Pseudoword]
) -> LikelihoodPair:
    """Write both recordings of a pair unless they are there."""
    word, phones, pseudoword = made
    paths = []
    for side, letters in (("pos", phones), ("neg", pseudoword.phones)):
        path = run / "audio" / voice / f"{word}_{side}.flac"
        if not path.is_file():
            write_audio(path, kokoro.speak_phones(letters, {voice: 1.0}, speed), SAMPLE_RATE)
        paths.append(path)
    return LikelihoodPair(f"{voice}_{word}", SUITE, voice, *paths, group=word)


def command(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = make_parser(
        "python -m recipes.comparisons.word_pairs", __doc__ or "", schema=WordPairsConfig
    )
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        path = main(load_settings(WordPairsConfig, arguments.config, arguments.overrides))
        print(json.dumps({"pairs": str(path)}) if arguments.json else path)
        return DONE

    return exit_status(work, debug=arguments.debug)


if __name__ == "__main__":
    raise SystemExit(command())
