"""Settings of corpora and their preparation, every field with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from .schema_fields import require, runtime


@dataclass
class PrepareConfig:
    """From a corpus to one store of equal-loudness waveforms per split."""

    # The codec's own rate; clips at any other rate are resampled.
    sample_rate: int = 24000
    # RMS that every clip is brought to, or as near as its peaks allow; dB relative to full scale.
    loudness_dbfs: float = -23.0
    # Clips outside are left out and listed in skipped.jsonl, seconds.
    min_duration: float = 0.1
    max_duration: float = 30.0
    # At most this many clips per split, spread evenly over the manifest; null = all.
    limit: int | None = None
    # Shares of the clips that become `valid` and `test` where a corpus has no splits of its own.
    valid_fraction: float = 0.02
    test_fraction: float = 0.02
    # Above this share of unreadable clips the corpus is taken for broken and the stage stops.
    max_unreadable: float = 0.01

    def __post_init__(self) -> None:
        require(self.sample_rate > 0, "prepare.sample_rate", "a rate in Hz > 0", self.sample_rate)
        require(self.loudness_dbfs < 0, "prepare.loudness_dbfs", "dBFS < 0", self.loudness_dbfs)
        require(
            0 <= self.min_duration < self.max_duration,
            "prepare.min_duration",
            f"seconds in [0, max_duration={self.max_duration})",
            self.min_duration,
        )
        require(self.limit is None or self.limit > 0, "prepare.limit", "null or > 0", self.limit)
        for name in ("valid_fraction", "test_fraction", "max_unreadable"):
            value = getattr(self, name)
            require(0 <= value < 0.5, f"prepare.{name}", "a share in [0, 0.5)", value)


@dataclass
class CorporaConfig:
    """Where the published corpora lie, and whether they may be downloaded."""

    # Folder that LJSpeech-1.1/ or LibriTTS/ lies in, and that a download goes to.
    folder: str = "corpora"
    # Fetch what is missing (LJSpeech 2.6 GB; LibriTTS 0.9 to 44 GB a subset).
    download: bool = runtime(False)
    # LibriTTS subsets that become the train, valid and test split.
    train_subsets: list[str] = field(default_factory=lambda: ["train-clean-100"])
    valid_subsets: list[str] = field(default_factory=lambda: ["dev-clean"])
    test_subsets: list[str] = field(default_factory=lambda: ["test-clean"])


@dataclass
class EspeakConfig:
    """The embedded corpus: sentences of a small grammar spoken by eSpeak NG. Synthetic speech."""

    # Distinct sentences in each split; no sentence is in two splits.
    train_sentences: int = 600
    valid_sentences: int = 30
    test_sentences: int = 30
    # Voices of the train and valid splits, and further voices that only the test split has.
    train_voices: int = 10
    test_voices: int = 4

    def __post_init__(self) -> None:
        for name in ("train_sentences", "valid_sentences", "test_sentences"):
            value = getattr(self, name)
            require(value > 0, f"espeak.{name}", "a count > 0", value)
        for name in ("train_voices", "test_voices"):
            value = getattr(self, name)
            require(value > 0, f"espeak.{name}", "a count > 0", value)


@dataclass
class StringsConfig:
    """Strings of words from a corpus of single words (recipes/corpora/word_strings.py); off."""

    # Strings of each split, dealt out to its speakers in turn; train 0 = the corpus as it is.
    train: int = 0
    valid: int = 100
    test: int = 100
    # Words of a string; those of valid and test have more, and occur inside none of train.
    min_words: int = 1
    max_words: int = 6
    min_held_out_words: int = 3
    # Silence between two recordings, drawn evenly, seconds.
    min_pause: float = 0.1
    max_pause: float = 0.25
    # Share of valid's recordings that become test's, so that test has voices that train has, too.
    known_in_test: float = 0.0

    def __post_init__(self) -> None:
        for name in ("train", "valid", "test"):
            value = getattr(self, name)
            require(value >= 0, f"strings.{name}", "a count >= 0", value)
        sizes = (self.min_words, self.min_held_out_words, self.max_words)
        ordered = 1 <= sizes[0] <= sizes[1] <= sizes[2]
        words = "1 <= min_words <= min_held_out_words <= max_words"
        require(ordered, "strings.min_words", words, sizes)
        pauses = (self.min_pause, self.max_pause)
        require(0 <= pauses[0] <= pauses[1], "strings.min_pause", "0 <= min <= max", pauses)
        share = self.known_in_test
        require(0 <= share < 1, "strings.known_in_test", "a share in [0, 1)", share)
