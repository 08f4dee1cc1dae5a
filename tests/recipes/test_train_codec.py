from pathlib import Path

import pytest

from recipes.config import load_config
from recipes.train_codec import build_codec

CONFIGS = Path(__file__).parents[2] / "recipes" / "configs"
STARTING = ["continue_mini.yaml", "harmonic_mini.yaml", "digits.yaml", "ablations/base.yaml"]


@pytest.mark.parametrize("name", STARTING)
def test_recipes_that_go_on_from_a_shipped_codec_fit_it(name, tmp_path):
    """A release with other sizes would stop them at their first step."""
    config = load_config(CONFIGS / name, [f"run={tmp_path}", "corpus=espeak"])
    assert config.codec.start == "hh-mini-24k"
    build_codec(config)
