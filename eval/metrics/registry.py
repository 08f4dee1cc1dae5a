"""Registry of metrics by family name, those of other packages included, and choices of them.

Another package adds metrics by an entry point of the group `hh_slm.metrics`, whose name is the
family name and whose value is called without arguments and returns a `Metric`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points

from eval.protocols import Metric, Part, WeightSpec
from eval.recognition.moonshine import MoonshineRecognizer
from eval.recognition.pocketsphinx import PocketSphinxRecognizer
from eval.recognition.whisper import GreedyWhisperRecognizer, WhisperRecognizer
from eval.recognition.whisper_ctranslate2 import CTranslate2WhisperRecognizer, whisper_recognizer
from eval.weights import is_named, parse_weights, use_weights

from .duration import DeliveryMetric, DurationMetric
from .mel_distance import MelCepstralMetric, MelDistanceMetric
from .mos import DistillMosMetric, DnsMosMetric, UtmosMetric
from .pesq_visqol import PesqMetric, VisqolMetric
from .pitch import PitchMetric
from .prosody import ProsodyMetric
from .readiness import obstacles, require_ready
from .si_sdr import SiSdrMetric
from .speaker_encoders import ResemblyzerEncoder, WavLMSpeakerEncoder
from .speaker_similarity import SimilarityMetric
from .stoi import StoiMetric
from .wer import WerMetric

Factory = Callable[[], Metric]
ENTRY_POINTS = "hh_slm.metrics"

METRICS: dict[str, Factory] = {
    "stoi": lambda: StoiMetric(),
    "estoi": lambda: StoiMetric(extended=True),
    "mel_l1": lambda: MelDistanceMetric(),
    "mcd_mel": lambda: MelCepstralMetric(),
    "si_sdr": lambda: SiSdrMetric(),
    "pitch": lambda: PitchMetric(),
    "pitch_crepe": lambda: PitchMetric("crepe"),
    "delivery": lambda: DeliveryMetric(),
    "duration": lambda: DurationMetric(),
    "prosody": lambda: ProsodyMetric(),
    "pesq": lambda: PesqMetric(),
    "visqol": lambda: VisqolMetric(),
    "dnsmos": lambda: DnsMosMetric(),
    "dnsmos_original": lambda: DnsMosMetric("reference"),
    "distillmos": lambda: DistillMosMetric(),
    "distillmos_original": lambda: DistillMosMetric("reference"),
    "utmos22": lambda: UtmosMetric(),
    "utmos22_original": lambda: UtmosMetric("reference"),
    "speaker_sim": lambda: SimilarityMetric(ResemblyzerEncoder()),
    "speaker_sim_prompt": lambda: SimilarityMetric(ResemblyzerEncoder(), "prompt"),
    "wavlm_sim": lambda: SimilarityMetric(WavLMSpeakerEncoder(), family="wavlm_sim"),
    "wavlm_sim_prompt": lambda: SimilarityMetric(
        WavLMSpeakerEncoder(), "prompt", family="wavlm_sim"
    ),
    "wer": lambda: WerMetric(PocketSphinxRecognizer()),
    "wer_original": lambda: WerMetric(PocketSphinxRecognizer(), part="reference"),
    "wer_whisper": lambda: WerMetric(whisper_recognizer(), family="wer_whisper"),
    "wer_whisper_original": lambda: WerMetric(
        whisper_recognizer(), part="reference", family="wer_whisper"
    ),
    "wer_moonshine": lambda: WerMetric(MoonshineRecognizer(), family="wer_moonshine"),
    "wer_moonshine_original": lambda: WerMetric(
        MoonshineRecognizer(), part="reference", family="wer_moonshine"
    ),
}
# Made by their full ids alone: those of earlier releases, and either back end of Whisper, of which
# the family names the one that the folder is for.
_BACK_ENDS: tuple[Callable[[], WhisperRecognizer], ...] = (
    WhisperRecognizer,
    lambda: WhisperRecognizer(search_loops_again=False),
    CTranslate2WhisperRecognizer,
    lambda: CTranslate2WhisperRecognizer(search_loops_again=False),
    GreedyWhisperRecognizer,
)
_PARTS: tuple[Part, ...] = ("estimate", "reference")


def _words_by(make: Callable[[], WhisperRecognizer], part: Part) -> Metric:
    """Word errors by a recogniser that is made now: it names the model's folder of the moment."""
    return WerMetric(make(), part=part, family="wer_whisper")


BY_ID: tuple[Factory, ...] = tuple(
    partial(_words_by, make, part) for make in _BACK_ENDS for part in _PARTS
)
# The default for reconstructions: needs the packages of the extra `eval` and no weights.
RECONSTRUCTION = ("stoi", "estoi", "mel_l1", "mcd_mel", "pitch")
# Added to the default where they can run; those that cannot are named in the run record.
WHERE_READY = ("speaker_sim",)
INTELLIGIBILITY = ("wer_original", "wer")
# Beside `wer` in the recipes wherever the folder of the model is named.
WORDS_WHERE_READY = ("wer_whisper",)
# Of the same part of an item by the other recogniser.
_BY_WHISPER = {"wer": "wer_whisper", "wer_original": "wer_whisper_original"}


@dataclass(frozen=True)
class Selection:
    """Metrics that can be scored, and names of those that cannot, each with its reasons."""

    metrics: list[Metric]
    skipped: dict[str, list[str]]


def all_metrics() -> dict[str, Factory]:
    """List factories by family name: ours, then those of entry points, loaded when called.

    Raises:
        ValueError: Two packages, or one and we, give a metric of the same name.
    """
    found = dict(METRICS)
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name in found:
            raise ValueError(
                f"expected each metric name once, got {entry.name!r} again from {entry.value}"
            )
        found[entry.name] = lambda entry=entry: entry.load()()
    return found


def make_metrics(names: Iterable[str]) -> list[Metric]:
    """Make metrics by family name ("stoi") or full id ("stoi.pystoi04"), in the order given.

    Raises:
        ValueError: A name that is neither.
    """
    factories, wanted = all_metrics(), list(names)
    made = {name: factories[name]() for name in wanted if name in factories}
    if len(made) < len(set(wanted)):
        for metric in [factory() for factory in (*factories.values(), *BY_ID)]:
            made.setdefault(metric.info.id, metric)
    unknown = [name for name in wanted if name not in made]
    if unknown:
        raise ValueError(f"expected metrics of {sorted(factories)}, got {unknown}")
    return [made[name] for name in wanted]


def with_whisper(names: Sequence[str]) -> list[str]:
    """Add the word error rates by Whisper beside those of the offline recogniser, where asked for.

    Args:
        names: Family names or full ids; those of `wer` and `wer_original` have one beside them.
    """
    others = [_BY_WHISPER.get(name.split(".")[0], "") for name in names]
    added = [name for name in dict.fromkeys(others) if name and name not in names]
    return [*names, *(name for name in added if is_asked_for(name))]


def is_asked_for(name: str) -> bool:
    """Tell whether a metric is ready, or the path of its model is named.

    One whose path is wrong is to be refused or named by whoever scores, not passed over.
    """
    metric = METRICS[name]()
    return not obstacles(metric) or any(map(is_named, metric.info.weights))


def use_named_weights(options: Iterable[str]) -> None:
    """Set the paths of `name=path` options for this process and its workers.

    Raises:
        ValueError: As `parse_weights`; a name that no metric has a weight of.
    """
    paths = parse_weights(options)
    own = [factory() for factory in (*METRICS.values(), *BY_ID)]
    # Those of other packages are loaded only for a name that is none of ours.
    if not paths.keys() <= {spec.name for spec in _weights(own)}:
        every = [factory() for factory in all_metrics().values()]
        known = sorted({spec.name for spec in _weights([*own, *every])})
        unknown = sorted(paths.keys() - set(known))
        if unknown:
            raise ValueError(
                f"expected --weight NAME=PATH with a name of {', '.join(known)}, "
                f"got {', '.join(unknown)}"
            )
    use_weights(paths)


def _weights(metrics: Iterable[Metric]) -> list[WeightSpec]:
    return [spec for metric in metrics for spec in metric.info.weights]


def select_metrics(
    text: str | None,
    default: Sequence[str],
    *,
    where_ready: Sequence[str] = (),
    skip_unavailable: bool = False,
) -> Selection:
    """Make the metrics of a comma-separated choice.

    Args:
        text: Names; "-name" drops one, "default" stands for the default set, which is also what
            a choice of nothing but drops begins with. None for the default set.
        default: Names that must be able to run.
        where_ready: Names of the default set that are left out where they cannot run.
        skip_unavailable: Leave out whatever cannot run, not only those.

    Raises:
        ValueError: No or an unknown name, a metric asked for that cannot run, or none left.
    """
    parts = split_names("default" if text is None else text)
    dropped = {part[1:] for part in parts if part.startswith("-")}
    named = [part for part in parts if not part.startswith("-")] or ["default"]
    # Names in order, each with whether it must be able to run.
    chosen: dict[str, bool] = {}
    for name in named:
        if name == "default":
            chosen |= {each: True for each in default if each not in chosen}
            chosen |= {each: False for each in where_ready if each not in chosen}
        else:
            chosen[name] = True
    unknown = sorted(dropped - chosen.keys())
    if unknown:
        raise ValueError(f"expected to drop one of {sorted(chosen)}, got {unknown}")
    names = [name for name in chosen if name not in dropped]
    metrics, skipped = [], {}
    for name, metric in zip(names, make_metrics(names), strict=True):
        reasons = obstacles(metric)
        if reasons and (skip_unavailable or not chosen[name]):
            skipped[name] = reasons
        else:
            metrics.append(metric)
    require_ready(metrics)
    return Selection(metrics, skipped)


def split_names(text: str) -> list[str]:
    """Split names of metrics at commas.

    Raises:
        ValueError: There is none, as where a shell's variable is empty.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise ValueError(f"expected names of metrics, parted by commas, got {text!r}")
    return names
