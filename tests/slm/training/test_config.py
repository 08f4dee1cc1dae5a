from typing import Any

import pytest

from slm.training.config import Machines, TrainingSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer": "sgd"},
        {"schedule": "linear"},
        {"decay_fraction": 0.0},
        {"warmup_steps": 99},
        {"learning_rate": 1e38},
        {"learning_rate": float("inf")},
        {"min_learning_rate": float("nan")},
        {"weight_decay": float("inf")},
        {"betas": (0.9, 1.0)},
        {"accumulate": 1.5},
        {"validate_every": 0},
        {"seed": -1},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected .*, got"):
        TrainingSettings(**{"max_steps": 99, **wrong})


def test_a_strategy_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="strategy: expected one of auto, ddp, fsdp, got 'zero'"):
        Machines(strategy="zero")
