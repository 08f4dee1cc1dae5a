"""Codecs that a comparison trains itself, by a recipe and on its own clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from codec.checks import require
from codec.training.config import PhaseConfig
from recipes.runner.config import Config, load_config
from recipes.runner.stages import run_stage, stage_folder

from .config import AdaptConfig
from .corpus import corpus_run, of_corpus, share_corpus
from .tokenizers import HHTokenizer


def recipe_of(config: AdaptConfig, source: str, folder: Path) -> Config:
    """Read the recipe of a codec, on the comparison's clips and within its budget.

    Raises:
        ValueError: A recipe that cannot be read, or one without phases.
    """
    recipe = load_config(Path(source), [f"run={folder}", f"corpus={config.corpus}"])
    phases = recipe.train_codec.phases
    require(bool(phases), f"{source}: train_codec.phases", "at least one", phases)
    shorter = {name: _within_budget(config, phase) for name, phase in phases.items()}
    return of_corpus(
        replace(recipe, train_codec=replace(recipe.train_codec, phases=shorter)), config
    )


def train_codec(config: AdaptConfig, name: str, source: str, folder: Path) -> HHTokenizer:
    """Train the codec of a recipe, or finish its training.

    Args:
        config: Of the comparison.
        name: As a table shows it.
        source: YAML file of the recipe.
        folder: Of its run.

    Raises:
        ValueError: As `recipe_of`, or what the training refuses.
    """
    recipe = recipe_of(config, source, folder)
    share_corpus(recipe, stage_folder(corpus_run(config), "prepare"))
    run_stage(recipe, "train_codec")
    return HHTokenizer(str(stage_folder(recipe, "train_codec") / "model"), name, config.device)


def _within_budget(config: AdaptConfig, phase: PhaseConfig) -> PhaseConfig:
    """A phase of the budget's share of its steps, and of those that warm it up."""
    steps = config.within_budget(phase.steps)
    last = steps - 1  # neither a warmup nor the first quantised step may lie behind the last
    return replace(
        phase,
        steps=steps,
        warmup_steps=min(config.within_budget(phase.warmup_steps), last),
        quantize_from=min(config.within_budget(phase.quantize_from), last)
        if phase.quantize_from
        else phase.quantize_from,
    )
