"""Every metric by its family name, and whether it can run here."""

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

from .intelligibility import WerMetric
from .pitch import PitchMetric
from .protocols import Metric
from .quality import MelDistanceMetric, StoiMetric
from .recognition import PocketSphinxRecognizer

METRICS: dict[str, Callable[[], Metric]] = {
    "stoi": lambda: StoiMetric(),
    "estoi": lambda: StoiMetric(extended=True),
    "mel_l1": lambda: MelDistanceMetric(),
    "pitch": lambda: PitchMetric(),
    "wer": lambda: WerMetric(PocketSphinxRecognizer()),
    "wer_original": lambda: WerMetric(PocketSphinxRecognizer(), part="reference"),
}
RECONSTRUCTION = ("stoi", "estoi", "mel_l1", "pitch")
INTELLIGIBILITY = ("wer_original", "wer")


def make_metrics(names: Iterable[str]) -> list[Metric]:
    """Metrics by family name ("stoi") or full id ("stoi.pystoi04"), in the order given.

    Raises:
        ValueError: A name that is not in `METRICS`.
    """
    known = {**METRICS, **{factory().info.id: factory for factory in METRICS.values()}}
    wanted = list(names)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"expected metrics of {sorted(METRICS)}, got {unknown}")
    return [known[name]() for name in wanted]


def installed_packages(metric: Metric) -> dict[str, str | None]:
    """Version of each package a metric is tied to, None where it is not installed."""
    found: dict[str, str | None] = {}
    for package, _ in metric.info.packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def obstacles(metric: Metric) -> list[str]:
    """Why a metric cannot run here; empty when it can."""
    found = installed_packages(metric)
    reasons = []
    for package, prefix in metric.info.packages:
        installed = found[package]
        if installed is None:
            reasons.append(f"package {package} is missing: pip install '{package}=={prefix}*'")
        elif not installed.startswith(prefix):
            reasons.append(f"expected {package} {prefix}x, got {installed}: the id names {prefix}x")
    return reasons


def require_ready(metrics: Sequence[Metric]) -> None:
    """Refuses metrics that cannot run, before any audio is read.

    Raises:
        ValueError: No metric, an id twice, or a metric that is not ready.
    """
    ids = [metric.info.id for metric in metrics]
    if not ids or len(set(ids)) != len(ids):
        raise ValueError(f"expected at least one metric and every id once, got {ids}")
    for metric in metrics:
        reasons = obstacles(metric)
        if reasons:
            raise ValueError(f"metric {metric.info.id} cannot run: {'; '.join(reasons)}")
