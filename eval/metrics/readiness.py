"""Readiness of metrics: the packages and weights they need, and the remedy where one is missing."""

from __future__ import annotations

from collections.abc import Sequence

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
    found = installed_packages(metric)
    reasons = []
    missing = [each for each in metric.info.packages if found[each[0]] is None]
    if missing:
        # a version for those that no extra asks for, such as a metric's of another package
        wanted = (f"{name}=={prefix}*" if prefix else name for name, prefix in missing)
        note = f" ({metric.info.install_note})" if metric.info.install_note else ""
        names = ", ".join(name for name, _ in missing)
        kind = "package" if len(missing) == 1 else "packages"
        reasons.append(f"missing {kind} {names}: {install_command(*wanted)}{note}")
    for package, prefix in metric.info.packages:
        installed = found[package]
        if installed is not None and not installed.startswith(prefix):
            reasons.append(f"expected {package} {prefix}x, got {installed}: the id names {prefix}x")
    weights = [weight_obstacle(spec) for spec in metric.info.weights]
    return [*reasons, *(reason for reason in weights if reason)]


def status(metric: Metric) -> str:
    """Return "ready", "package missing" or "weight missing"."""
    if not obstacles(metric):
        return "ready"
    found = installed_packages(metric)
    whole = all((found[name] or "").startswith(prefix) for name, prefix in metric.info.packages)
    missing = any(weight_obstacle(spec) for spec in metric.info.weights)
    return "weight missing" if missing and whole else "package missing"


def require_ready(metrics: Sequence[Metric]) -> None:
    """Refuse metrics that cannot run, before any audio is read.

    Raises:
        ValueError: No metric, an id twice, or a metric that is not ready.
    """
    ids = [metric.info.id for metric in metrics]
    if not ids or len(set(ids)) != len(ids):
        raise ValueError(f"expected at least one metric and every id once, got {ids}")
    for metric in metrics:
        reasons = obstacles(metric)
        if reasons:
            family, other = metric.info.id.split(".")[0], metric.info.alternative
            ways = f"leave it out of --metrics (the default set without it: --metrics=-{family})"
            ways += ", or leave out all such: --skip-unavailable"
            instead = f"; it runs offline instead: {other}" if other else ""
            raise ValueError(
                f"metric {metric.info.id} cannot run: {'; '.join(reasons)}. Or {ways}{instead}"
            )
