"""What a comparison of tokenizers would do, and what is missing for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codec.files.names import check_items
from eval.metrics.registry import make_metrics, obstacles
from eval.reporting.adaptability import RESULT
from recipes.corpora.manifest import MANIFEST_NAME
from recipes.runner.config import plain_settings

from .codecs import recipe_of
from .config import AdaptConfig
from .tokenizers import missing_weights


def wanted_names(config: AdaptConfig, only: Sequence[str] | None) -> list[str]:
    """Choose the tokenizers of a call, all where none is named.

    Raises:
        ValueError: One that the settings do not have, or that cannot name a folder.
    """
    check_items(config.tokenizers)
    wanted = list(config.tokenizers) if only is None else list(only)
    unknown = [name for name in wanted if name not in config.tokenizers]
    if unknown:
        raise ValueError(f"--only: expected some of {list(config.tokenizers)}, got {unknown}")
    return wanted


def missing_tokenizers(config: AdaptConfig, names: Sequence[str]) -> dict[str, str]:
    """List why some of the tokenizers cannot be made here, by name; nothing is trained."""
    reasons = {}
    for name in names:
        settings, folder = config.tokenizers[name], Path(config.run) / name
        if settings.kind == "trained":
            assert settings.source is not None
            try:
                recipe_of(config, settings.source, folder / "codec")
            except ValueError as error:
                reasons[name] = " ".join(str(error).split())
        elif settings.kind == "kmeans" and settings.source is None:
            continue  # it is trained on the spot
        elif problem := missing_weights(name, settings):
            reasons[name] = problem
    return reasons


def plan_adapt(config: AdaptConfig, *, only: Sequence[str] | None = None) -> dict[str, Any]:
    """Find out what a call would do, without writing a byte.

    Returns:
        `run`, `settings`, `tokenizers` ({"status": done, to do or left out} by name, with the
        `reason` of those left out), `steps` of the language model, `training_seconds` of speech
        that its rows hold, and `missing`: what keeps the call from its work.
    """
    wanted, run = wanted_names(config, only), Path(config.run)
    absent, missing = missing_tokenizers(config, wanted), list[str]()
    tokenizers: dict[str, dict[str, str]] = {}
    for name in wanted:
        settings = config.tokenizers[name]
        done = "done" if (run / name / RESULT).is_file() else "to do"
        tokenizers[name] = {"kind": settings.kind, "status": done}
        if name in absent:
            tokenizers[name] |= {"status": "left out", "reason": absent[name]}
            missing += [] if settings.optional else [f"{name}: {absent[name]}"]
    for metric in make_metrics([*config.resynthesis_metrics, *config.generation_metrics]):
        missing += [f"{metric.info.id}: {each}" for each in obstacles(metric)]
    if not (Path(config.corpus) / MANIFEST_NAME).is_file():
        missing.append(f"{config.corpus}: expected a folder with {MANIFEST_NAME}")
    steps = config.within_budget(config.steps)
    return {
        "run": config.run,
        "settings": plain_settings(config),
        "tokenizers": tokenizers,
        "steps": steps,
        "training_seconds": steps * config.batch_size * config.row_seconds,
        "missing": missing,
    }


def plan_text(plan: dict[str, Any]) -> str:
    """The plan in lines."""
    lines = [
        f"{plan['run']}: {plan['steps']} steps on {plan['training_seconds']:.0f} s of speech "
        "for each of"
    ]
    for name, each in plan["tokenizers"].items():
        reason = f": {each['reason']}" if "reason" in each else ""
        lines.append(f"  {name:<24} {each['kind']:<10} {each['status']}{reason}")
    lines += [f"missing  {each}" for each in plan["missing"]]
    return "\n".join(lines)
