"""What the commands take for settings, and what they say of speech that was made."""

import argparse
from typing import Any

from slm.generation.best_of import Ranking
from slm.generation.config import GenerationSettings
from slm.model.config import SpeechLMConfig
from slm.synthesis.result import Synthesis


def sampling(
    arguments: argparse.Namespace, config: SpeechLMConfig | None = None
) -> GenerationSettings:
    """What was asked for, else as suits the model of this config.

    Raises:
        ValueError: A setting is out of range.
    """
    own = GenerationSettings() if config is None else GenerationSettings.for_model(config)
    return GenerationSettings(
        temperature=own.temperature if arguments.temperature is None else arguments.temperature,
        top_k=arguments.top_k,
        top_p=own.top_p if arguments.top_p is None else arguments.top_p,
        min_p=arguments.min_p,
        repetition_window=arguments.repetition_window,
        guidance=arguments.guidance,
        weights=arguments.weights,
        engine=arguments.engine,
    )


def described(result: Synthesis, path: str, ranking: Ranking | None = None) -> dict[str, Any]:
    """What a report says of speech that is written to `path`."""
    report: dict[str, Any] = {
        "out": path,
        "duration": result.duration,
        "num_codes": len(result.codes),
        "num_given_codes": result.num_given_codes,
        "truncated": result.truncated,
        "stopped": result.stopped,
        "rejected": list(result.rejected),
        "log_likelihood": result.log_likelihood,
        "seed": result.seed,
        "attempt": result.attempt,
    }
    if ranking is not None:
        report["choice"] = ranking.choice
        report["scores"] = {name: list(scores) for name, scores in ranking.scores.items()}
    return report
