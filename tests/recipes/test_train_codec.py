from pathlib import Path

import pytest

from recipes.config import ConfigError, load_config
from recipes.stages import StageError, run_stages, settings_of
from recipes.train_codec import build_codec, fit_config

CONFIGS = Path(__file__).parents[2] / "recipes" / "configs"
STARTING = ["continue_mini.yaml", "harmonic_mini.yaml", "digits.yaml", "ablations/base.yaml"]


@pytest.mark.parametrize("name", STARTING)
def test_recipes_that_go_on_from_a_shipped_codec_fit_it(name, tmp_path):
    """A release with other sizes would stop them at their first step."""
    config = load_config(CONFIGS / name, [f"run={tmp_path}", "corpus=espeak"])
    assert config.codec.start == "hh-mini-24k"
    build_codec(config)


def test_the_codec_at_scale_is_that_of_one_gpu_with_its_crops_shared(tmp_path):
    overrides = [f"run={tmp_path}"]
    one = load_config(CONFIGS / "hh_24khz.yaml", overrides)
    eight = load_config(CONFIGS / "scale" / "hh_24khz_8gpu.yaml", overrides)
    assert eight.train_codec.devices * eight.train_codec.num_nodes == 8
    assert settings_of(one, "train_codec") == settings_of(eight, "train_codec")
    settings = fit_config(eight)
    assert (settings.devices, settings.num_nodes, settings.strategy) == (8, 1, "ddp")


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("devices=5", "phases.joint: batch_size: expected a multiple of 5 processes"),
        ("devices=0", "train_codec.devices, num_nodes: expected counts >= 1"),
        ("strategy=fsdp", "train_codec.strategy: expected auto or ddp, got 'fsdp'"),
    ],
)
def test_devices_that_cannot_train_are_refused_with_the_settings(override, part, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("corpus: c\nrun: r\ntrain_codec: {phases: {joint: {batch_size: 48}}}\n")
    with pytest.raises(ConfigError, match=part):
        load_config(path, [f"train_codec.{override}"])


def test_two_stages_of_several_devices_are_refused_in_one_command(tmp_path):
    """The processes that the first starts are gone when the second begins."""
    overrides = [f"run={tmp_path / 'run'}", "train_codec.devices=2", "train_slm.devices=2"]
    config = load_config(CONFIGS / "smoke.yaml", ["corpus=espeak", *overrides])
    with pytest.raises(StageError, match="train_codec and train_slm: the other processes"):
        run_stages(config, config.stages)
    assert not (tmp_path / "run").exists()
