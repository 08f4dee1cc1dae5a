"""Settings of corpora and their preparation, every field with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from codec.checks import above, at_least, in_range, require

from .fields import runtime, some_of


@dataclass
class PrepareConfig:
    """From a corpus to one store of waveforms per split, of equal loudness unless told not to."""

    # The codec's own rate; clips at any other rate are resampled.
    sample_rate: int = 24000
    # RMS that every clip is brought to, or as near as its peaks allow; dB relative to full scale.
    # null leaves levels as they are. A codec is trained at the level that it encodes at, its own
    # `loudness_dbfs`.
    loudness_dbfs: float | None = -23.0
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
    # Splits whose waveforms are stored, 173 MB an hour; of the others the rows alone are, for a
    # corpus that is read in place: encode_corpus.recordings and train_codec.sources.
    stored_splits: list[str] = field(default_factory=lambda: ["train", "valid", "test"])

    def __post_init__(self) -> None:
        above("sample_rate", self.sample_rate, 0)
        level = self.loudness_dbfs
        require(level is None or level < 0, "loudness_dbfs", "null or dBFS < 0", level)
        in_range("min_duration", self.min_duration, 0, self.max_duration, ends="[)")
        require(self.limit is None or self.limit > 0, "limit", "null or > 0", self.limit)
        some_of("stored_splits", self.stored_splits, ("train", "valid", "test"))
        for name in ("valid_fraction", "test_fraction", "max_unreadable"):
            in_range(name, getattr(self, name), 0, 0.5, ends="[)")


@dataclass
class CorporaConfig:
    """Folder and download of the published corpora."""

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
        for name, value in vars(self).items():
            at_least(name, value, 1)


@dataclass
class KokoroConfig:
    """A corpus that Kokoro-82M speaks (recipes/corpora/kokoro.py, extra `kokoro`). Synthetic."""

    # Folder with the model's .onnx file, vocab.json and voices.npz.
    model: str = ""
    # A text file with a sentence a line, or JSON lines with `text`; the first held_out_sentences
    # are those of valid and test, in turn, and of no other split.
    sentences: str = ""
    held_out_sentences: int = 100
    # Of train, about, shared by its speakers alike; an hour takes a core 45 minutes or more. And
    # seconds of each speaker of valid and test.
    hours: float = 1.0
    held_out_seconds: float = 60.0
    # Voices by name; none = all English ones of the model. So many speak in valid and test alone.
    voices: list[str] = field(default_factory=list)
    valid_voices: int = 2
    test_voices: int = 2
    # Speakers of train that are fixed blends of two of the model's voices, of any language.
    blends: int = 0
    # Bounds of a clip's speed; 1 = the voice's own.
    min_speed: float = 0.9
    max_speed: float = 1.12
    # Processes that speak, a thread each; they change no clip.
    workers: int = runtime(1)

    def __post_init__(self) -> None:
        above("hours", self.hours, 0)
        above("held_out_seconds", self.held_out_seconds, 0)
        at_least("held_out_sentences", self.held_out_sentences, 2)
        for name in ("valid_voices", "test_voices", "blends"):
            at_least(name, getattr(self, name), 0)
        at_least("workers", self.workers, 1)
        speeds = (self.min_speed, self.max_speed)
        require(0 < speeds[0] <= speeds[1], "min_speed", "0 < min_speed <= max_speed", speeds)


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
            at_least(name, getattr(self, name), 0)
        sizes = (self.min_words, self.min_held_out_words, self.max_words)
        ordered = 1 <= sizes[0] <= sizes[1] <= sizes[2]
        words = "1 <= min_words <= min_held_out_words <= max_words"
        require(ordered, "min_words", words, sizes)
        pauses = (self.min_pause, self.max_pause)
        require(0 <= pauses[0] <= pauses[1], "min_pause", "0 <= min_pause <= max_pause", pauses)
        in_range("known_in_test", self.known_in_test, 0, 1, ends="[)")
