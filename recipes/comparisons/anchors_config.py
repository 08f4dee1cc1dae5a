"""Settings of the comparison with classical coders: clips, systems and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from codec.checks import at_least, one_of, require
from recipes.adaptability.tokenizers import TokenizerConfig

from .codec_stages import STAGES, stage_name, system_name

ORIGINAL = "original"


@dataclass
class AnchorsConfig:
    """The clips, the systems that recode them, and the metrics."""

    # Folder that holds manifest.jsonl.
    corpus: str = MISSING
    run: str = MISSING
    split: str = "test"
    # Only clips of these sources, and by these speakers, as the manifest spells them; null = all.
    sources: list[str] | None = None
    speakers: list[str] | None = None
    # Clips at most, evenly spread over the split; null = all.
    clips: int | None = None
    # Our codecs: bundled names or model folders, by commas. Each is compared with all others.
    codec: list[str] = field(default_factory=lambda: ["hh-mini-24k-v2"])
    # Our codecs once more with these numbers of entries that codes are tried against, as of
    # `hh-codec encode --search`.
    search: list[int] = field(default_factory=list)
    # Parts of our codecs as systems of their own, which tell where what is lost is lost: "mel", the
    # vocoder on the recording's own mel; "latents", all but the codebook; "mel_own_phases" and
    # "codes_own_phases", the recording's phases in place of the vocoder, for its mel or the codes'.
    stages: list[str] = field(default_factory=list)
    # Other tokenizers by name, as in adapt.yaml.
    tokenizers: dict[str, TokenizerConfig] = field(default_factory=dict)
    # Coders of eval/baselines/classical_codecs.py; `original` is the best that a metric can reach.
    classical: list[str] = field(
        default_factory=lambda: [
            ORIGINAL,
            "band_limit_8k",
            "opus_6",
            "codec2_3200",
            "codec2_2400",
            "codec2_1200",
            "codec2_700c",
        ]
    )
    # Names or ids of hh-eval doctor's list.
    metrics: list[str] = field(default_factory=lambda: ["stoi", "estoi", "mel_l1", "pitch"])
    # Metrics of clips with a transcript by these sources only: a recogniser errs on other voices.
    # Beside `wer` and `wer_original` stand those by Whisper where HH_WEIGHT_WHISPER names a model.
    word_metrics: list[str] = field(default_factory=list)
    word_sources: list[str] = field(default_factory=lambda: ["kathleen"])
    sample_rate: int = 24000
    # RMS that every clip is brought to before it is coded; dB relative to full scale; null = none.
    loudness_dbfs: float | None = -23.0
    seed: int = 0
    # Processes that score beside this one; threads of torch (0 = all).
    workers: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        for stage in self.stages:
            one_of("stages", stage, STAGES)
        for entries in self.search:
            at_least("search", entries, 1)
        ours = [*self.codec, *self.searched, *self.tokenizers]
        names = [*ours, *self.cut_short, *self.classical]
        distinct = {system_name(name) for name in names}
        is_right = bool(names) and len(distinct) == len(names)
        require(is_right, "codec, search, stages, tokenizers, classical", "distinct names", names)
        if self.clips is not None:
            at_least("clips", self.clips, 1)

    @property
    def searched(self) -> dict[str, tuple[str, int]]:
        """Our codecs and their searches by the names of the systems that they make."""
        return {stage_name(c, f"search_{n}"): (c, n) for c in self.codec for n in self.search}

    @property
    def cut_short(self) -> dict[str, tuple[str, str]]:
        """Our codecs and their stages by the names of the systems that they make."""
        return {stage_name(c, s): (c, s) for c in self.codec for s in dict.fromkeys(self.stages)}
