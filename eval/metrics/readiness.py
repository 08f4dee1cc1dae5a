"""Readiness of metrics: the packages and weights they need, and the remedy where one is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from codec.provenance import package_versions
from codec.requirements import install_command
from eval.protocols import Metric
from eval.weights import find_weight, weight_digest, weight_obstacle


def installed_packages(metric: Metric) -> dict[str, str | None]:
    """Look up the packages a metric is tied to; None where one is not installed."""
    return package_versions(package for package, _ in metric.info.packages)


def used_packages(metrics: Sequence[Metric]) -> dict[str, str | None]:
    """Look up everything that metrics compute with, by package."""
    base = package_versions(("numpy", "scipy", "soundfile", "soxr"))
    for metric in metrics:
        base |= installed_packages(metric)
    return dict(sorted(base.items()))


def used_weights(metric: Metric) -> dict[str, str | None]:
    """Compute the SHA-256 of each weight of a metric; None where it is missing."""
    paths = {spec.name: find_weight(spec) for spec in metric.info.weights}
    return {name: weight_digest(path) if path else None for name, path in paths.items()}


def obstacles(metric: Metric) -> list[str]:
    """List why a metric cannot run here, each with its remedy; empty when it can."""
    reasons = []
    wanted = _wanted(metric)
    if wanted:
        reasons.append(f"{_named(wanted)}: {install_command(*wanted.values())}{_note(metric)}")
    return [*reasons, *_other_obstacles(metric)]


def status(metric: Metric) -> str:
    """Return "ready", "package missing" or "weight missing"."""
    if not obstacles(metric):
        return "ready"
    found = installed_packages(metric)
    whole = all((found[name] or "").startswith(prefix) for name, prefix in metric.info.packages)
    missing = any(weight_obstacle(spec) for spec in metric.info.weights)
    return "weight missing" if missing and whole else "package missing"


def require_ready(metrics: Sequence[Metric], *, setting: str | None = None) -> None:
    """Refuse metrics that cannot run, all in one message, before any audio is read.

    Args:
        metrics: To run.
        setting: Key of a recipe that names them; None for --metrics of `hh-eval`.

    Raises:
        ValueError: No metric, an id twice, or metrics that are not ready.
    """
    ids = [metric.info.id for metric in metrics]
    if not ids or len(set(ids)) != len(ids):
        raise ValueError(f"expected at least one metric and every id once, got {ids}")
    refused = [metric for metric in metrics if obstacles(metric)]
    if not refused:
        return
    families = ",".join(f"-{_family(metric)}" for metric in refused)
    is_one = len(refused) == 1
    each = "it" if is_one else "them"
    if setting is None:
        each_out = f"leave {each} out of --metrics (the default set without {each}: "
        ways = f"{each_out}--metrics={families}), or leave out all such: --skip-unavailable"
    else:
        # A recipe has no such options.
        left = [metric.info.id.split(".")[0] for metric in metrics if metric not in refused]
        ways = f"leave {each} out: {setting}=[{','.join(left)}]"
    for metric in refused:
        if metric.info.alternative:
            place = "it runs offline instead" if is_one else f"offline instead of {_family(metric)}"
            ways += f"; {place}: {metric.info.alternative}"
    raise ValueError(f"{_told(refused)}. Or {ways}")


def _told(refused: Sequence[Metric]) -> str:
    """What keeps metrics from running; of several, one command for the packages of all."""
    if len(refused) == 1:
        return f"metric {refused[0].info.id} cannot run: {'; '.join(obstacles(refused[0]))}"
    parts, wanted = [], dict[str, str]()
    for metric in refused:
        own = _wanted(metric)
        wanted |= own
        reasons = [f"{_named(own)}{_note(metric)}"] if own else []
        parts.append(f"{metric.info.id}: {'; '.join([*reasons, *_other_obstacles(metric)])}")
    packages = f"; packages of all: {install_command(*wanted.values())}" if wanted else ""
    return f"{len(refused)} metrics cannot run: {'; '.join(parts)}{packages}"


def _family(metric: Metric) -> str:
    return metric.info.id.split(".")[0]


def _wanted(metric: Metric) -> dict[str, str]:
    """Packages of a metric that are not installed, and what pip is asked for."""
    found = installed_packages(metric)
    # A version for those that no extra asks for, such as a metric's of another package.
    return {
        name: f"{name}=={prefix}*" if prefix else name
        for name, prefix in metric.info.packages
        if found[name] is None
    }


def _named(wanted: Iterable[str]) -> str:
    names = list(wanted)
    return f"missing {'package' if len(names) == 1 else 'packages'} {', '.join(names)}"


def _note(metric: Metric) -> str:
    return f" ({metric.info.install_note})" if metric.info.install_note else ""


def _other_obstacles(metric: Metric) -> list[str]:
    """Packages of another version than the id names, and weights that are missing."""
    found, reasons = installed_packages(metric), []
    for package, prefix in metric.info.packages:
        installed = found[package]
        if installed is not None and not installed.startswith(prefix):
            reasons.append(f"expected {package} {prefix}x, got {installed}: the id names {prefix}x")
    weights = [weight_obstacle(spec) for spec in metric.info.weights]
    return [*reasons, *(reason for reason in weights if reason)]
