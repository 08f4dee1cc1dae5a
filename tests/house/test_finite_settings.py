"""No number of any settings may be NaN or infinite: every field of every config class is tried."""

from __future__ import annotations

import ast
import importlib
import math
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from codec.checks import all_finite
from codec.model.config import CodecConfig, CodecConfigError
from recipes.adaptability.config import AdaptConfig
from recipes.comparisons.anchors_config import AnchorsConfig
from recipes.comparisons.likelihood_tests import LikelihoodConfig
from recipes.comparisons.reconstruction import ReconstructionConfig
from recipes.comparisons.seed_tts import SeedTtsConfig
from recipes.preference_config import PreferencesConfig
from recipes.runner.config import Config, ConfigError, load_settings, read_yaml
from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from tests.support.sources import ROOT, modules

MODULES = (
    "codec.distillation.config",
    "codec.model.config",
    "codec.model.part_configs",
    "codec.training.config",
    "eval.baselines.kmeans",
    "eval.likelihood_tests.build",
    "recipes.planning.lm_cost",
    "slm.data.config",
    "slm.generation.config",
    "slm.model.config",
    "slm.training.config",
    "slm.training.preferences",
)

# Fields that a class must be given.
GIVEN: dict[str, dict[str, Any]] = {
    "SpeechLMConfig": {
        "vocabulary": Vocabulary(9, 8192).to_dict(),
        "codec_fingerprint": "a",
        "frame_rate": 23.4375,
    },
    "TrainingSettings": {"max_steps": 100},
    "Corpus": {"hours": 1.0},
}
# Settings that are off or empty by default, so that there is a number to replace.
FILLED: dict[str, dict[str, Any]] = {
    "PhaseConfig": {
        "part_rates": {"vocoder": 0.25},
        "discriminator_learning_rate": 1e-4,
        "discriminator_max_grad_norm": 1.0,
    },
    "SpeechLMConfig": {
        "rotary_scaling": {"rope_type": "llama3", "factor": 8.0},
        "duration_temperature": 0.8,
        "duration_top_p": 0.9,
    },
    "DocumentSettings": {"shares": {"a": 0.5}},
    "GenerationSettings": {"duration_temperature": 0.8, "duration_top_p": 0.9},
    "CodecConfig": {"loudness_dbfs": -23.0},
}
# Each with a file that has a value for what must be given, and phases of training.
RECIPES = {
    "mini": Config,
    "preferences": PreferencesConfig,
    "adapt": AdaptConfig,
    "anchors": AnchorsConfig,
    "likelihood_tests": LikelihoodConfig,
    "reconstruction": ReconstructionConfig,
    "seed_tts": SeedTtsConfig,
}
WRONG = (math.nan, math.inf, -math.inf)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def settings_classes() -> list[type]:
    """Public dataclasses of settings: those that check themselves or are named as such."""
    found = []
    for name in MODULES:
        module = importlib.import_module(name)
        for each in vars(module).values():
            is_own = isinstance(each, type) and each.__module__ == name and is_dataclass(each)
            if is_own and (hasattr(each, "__post_init__") or each.__name__.endswith("Config")):
                found.append(each)
    return found


def replaced(value: Any, wrong: float) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every number in a value by its path, and what builds the value with another in its place."""
    if is_number(value):
        yield "", lambda: wrong
    for name, inner, rebuild in held(value):
        for path, build in replaced(inner, wrong):
            yield name + path, lambda rebuild=rebuild, build=build: rebuild(build())


def held(value: Any) -> Iterator[tuple[str, Any, Callable[[Any], Any]]]:
    """What a value holds: path, inner value, and what puts another into a copy of the value."""
    if is_dataclass(value) and not isinstance(value, type):
        for name in (each.name for each in fields(value)):
            yield name, getattr(value, name), lambda new, name=name: replace(value, **{name: new})
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f".{key}", inner, lambda new, key=key: {**value, key: new}
    elif isinstance(value, tuple | list):
        for index, inner in enumerate(value):
            yield (
                f"[{index}]",
                inner,
                lambda new, index=index: (*value[:index], new, *value[index + 1 :]),
            )


def test_all_classes_of_settings_are_found() -> None:
    names = {each.__name__ for each in settings_classes()}
    wanted = {"QuantizerConfig", "PhaseConfig", "SpeechLMConfig", "TrainingSettings", "Corpus"}
    assert wanted <= names


@pytest.mark.parametrize("kind", settings_classes(), ids=lambda kind: kind.__name__)
def test_no_number_of_settings_that_are_built_is_nan_or_infinite(kind: type) -> None:
    default = kind(**GIVEN.get(kind.__name__, {}), **FILLED.get(kind.__name__, {}))
    accepted = []
    for wrong in WRONG:
        for path, build in replaced(default, wrong):
            try:
                build()
            except ValueError:
                continue
            accepted.append(f"{path} = {wrong}")
    # A whole number from YAML is never NaN: the schema refuses it before.
    hints = typing.get_type_hints(kind)
    whole = {name for name, hint in hints.items() if hint in (int, tuple[int, ...])}
    assert [each for each in accepted if each.split(" =")[0].split("[")[0] not in whole] == []


def leaves(node: Any, key: str = "") -> Iterator[str]:
    """Dotted keys of the numbers with a fraction; for others a schema refuses what is not whole."""
    if isinstance(node, float):
        yield key
    elif isinstance(node, dict):
        for name, inner in node.items():
            yield from leaves(inner, f"{key}.{name}".lstrip("."))


def changed(values: dict[str, Any], key: str, wrong: float) -> dict[str, Any]:
    """Nested values with another under a dotted key."""
    name, _, inner = key.partition(".")
    return {**values, name: changed(values[name], inner, wrong) if inner else wrong}


def test_no_number_in_the_file_of_a_codec_is_nan_or_infinite(tmp_path: Path) -> None:
    values = CodecConfig.preset("mini").to_dict()
    keys = list(leaves(values))
    assert {"quantizer.commitment", "quantizer.ema_dead_share", "mel.floor"} <= set(keys)
    for key in keys:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(changed(values, key, math.nan)))
        with pytest.raises(CodecConfigError, match=key.split(".")[-1]):
            CodecConfig.load(tmp_path / "config.yaml")


def test_no_number_in_the_file_of_a_language_model_is_nan_or_infinite(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    SpeechLMConfig(**GIVEN["SpeechLMConfig"], **FILLED["SpeechLMConfig"]).save(path)
    values = yaml.safe_load(path.read_text())
    for key in leaves(values):
        path.write_text(yaml.safe_dump(changed(values, key, math.inf)))
        with pytest.raises(ValueError, match="cannot read"):
            SpeechLMConfig.load(path)


@pytest.mark.parametrize(("name", "schema"), RECIPES.items())
def test_no_number_of_a_recipe_is_nan_or_infinite(name: str, schema: type) -> None:
    path = ROOT / f"recipes/configs/{name}.yaml"
    values: Any = OmegaConf.to_container(
        OmegaConf.merge(OmegaConf.structured(schema), read_yaml(path))
    )
    assert isinstance(values, dict)
    keys = list(leaves(values))
    for key in keys:
        with pytest.raises(ValueError, match=f"{key}: expected a finite number, got nan"):
            all_finite("", changed(values, key, math.nan))
    # To read a file takes long: the first and the last stand for all.
    for key in {*keys[:1], *keys[-1:]}:
        with pytest.raises(ConfigError, match=f"{key}: expected a finite number, got -inf"):
            load_settings(schema, path, [f"{key}=-.inf"])


# Options that are checked where they are used: their tests are those of the commands.
CHECKED_LATER = {
    "slm/cli/options.py": {
        "--temperature",
        "--top-k",
        "--top-p",
        "--min-p",
        "--repetition-window",
        "--guidance",
        "--prompt-guidance",
        "--duration-temperature",
        "--duration-top-p",
    },
    "slm/cli/transcribe.py": {"--temperature", "--length-power"},
}


def test_every_number_of_a_command_line_has_its_range() -> None:
    found: dict[str, set[str]] = {}
    for name, path in modules("codec", "slm", "eval", "recipes"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and node.args):
                continue
            kinds = [each.value for each in node.keywords if each.arg == "type"]
            # A plain float takes NaN, for which every comparison is false.
            if any(isinstance(kind, ast.Name) and kind.id in ("int", "float") for kind in kinds):
                options = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                found.setdefault(name, set()).update(map(str, options))
    assert found == CHECKED_LATER


@pytest.mark.parametrize(
    "command",
    [
        ("codec.cli.main", "bench", "--duration", "nan"),
        ("codec.cli.main", "bench", "--duration", "1e400"),
        ("codec.cli.main", "bench", "--repeats", "0"),
        ("codec.cli.main", "bench", "--threads", "0"),
        ("codec.cli.main", "encode", "in", "out", "--workers", "0"),
        ("codec.cli.main", "decode", "in", "out", "--batch-size", "-1"),
        ("eval.cli.main", "listen", "a", "b", "--out", "c", "--clips", "0"),
        ("eval.cli.main", "slm", "pairs.jsonl", "--scores", "s.jsonl", "--local-seconds", "nan"),
        ("eval.cli.main", "bench", "--seconds", "nan"),
        ("eval.cli.main", "bench", "--require", "nan"),
        ("recipes.app.__main__", "--max-seconds", "nan"),
        ("recipes.app.__main__", "--max-megabytes", "inf"),
        ("recipes.app.__main__", "--max-megabytes", "1e303"),
        ("recipes.app.__main__", "--threads", "0"),
        ("recipes.app.__main__", "--port", "65536"),
        ("recipes.app.__main__", "--max-waiting", "-1"),
        ("recipes.import_corpus", "librilight", "in", "-o", "out", "--longest", "nan"),
        ("recipes.import_corpus", "folder", "in", "-o", "out", "--shortest", "nan"),
        ("recipes.import_corpus", "kaldi", "in", "-o", "out", "--limit", "0"),
        ("recipes.import_corpus", "folder", "in", "-o", "out", "--valid", "nan"),
        ("recipes.planning.check_plan", "--within", "nan"),
        ("recipes.comparisons.transcribe", "mini.yaml", "--limit", "-1"),
        ("recipes.comparisons.ablate", "folder", "--clips", "-1"),
    ],
)
def test_a_command_takes_no_number_that_is_none(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *words = command
    (tmp_path / "pairs.jsonl").write_text("{}")
    try:
        status = importlib.import_module(name).main(
            [str(tmp_path / word) if word == "pairs.jsonl" else word for word in words]
        )
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    last = capsys.readouterr().err.splitlines()[-1]  # the usage above names every option
    assert words[-2].lstrip("-").replace("-", "_") in last.replace("-", "_")
    assert "expected" in last
