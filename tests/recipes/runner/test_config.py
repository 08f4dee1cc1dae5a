from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from recipes.adaptability.config import AdaptConfig
from recipes.comparisons.anchors_config import AnchorsConfig
from recipes.runner.config import (
    Config,
    ConfigError,
    load_config,
    load_settings,
    save_config,
    settings_yaml,
    thread_count,
)

ROOT = Path(__file__).resolve().parents[3]
# Settings of the comparisons and of preferences have schemas of their own.
COMPARISONS = (
    "adapt.yaml",
    "adapt_speech.yaml",
    "anchors.yaml",
    "compression.yaml",
    "likelihood_tests.yaml",
    "preferences.yaml",
    "reconstruction.yaml",
    "seed_tts.yaml",
    "tables.yaml",
    "voice_groups.yaml",
    "word_pairs.yaml",
)
YAML_FILES = sorted(
    path
    for folder in ("recipes", "tests")
    for path in (ROOT / folder).rglob("*.yaml")
    if path.name not in COMPARISONS
)


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text("corpus: espeak\nrun: runs/x\n", encoding="utf-8")
    return path


def test_there_are_configs_to_load() -> None:
    assert ROOT / "recipes" / "configs" / "mini.yaml" in YAML_FILES


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_yaml_file_loads(path: Path) -> None:
    # What a config leaves to the command line on purpose is given here.
    config = load_config(path, ["corpus=espeak", "run=runs/x"])
    assert isinstance(config, Config)


def test_an_override_wins_over_the_file_which_wins_over_the_default(yaml_file: Path) -> None:
    yaml_file.write_text("corpus: a\nrun: r\nprepare: {limit: 5, min_duration: 0.5}\n")
    config = load_config(yaml_file, ["prepare.limit=7", "corpus=b", "prepare.limit=9"])
    assert (config.corpus, config.prepare.limit) == ("b", 9)
    assert (config.prepare.min_duration, config.prepare.loudness_dbfs) == (0.5, -23.0)


def test_a_base_is_laid_under_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("corpus: a\nrun: r\nseed: 3\nprepare: {limit: 5}\n")
    (tmp_path / "child.yaml").write_text("base: base.yaml\nseed: 4\n")
    config = load_config(tmp_path / "child.yaml")
    assert (config.corpus, config.seed, config.prepare.limit) == ("a", 4, 5)


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("stages=encode_corpus,train_slm", ["encode_corpus", "train_slm"]),
        ("stages=prepare", ["prepare"]),
        ("stages=[prepare, evaluate]", ["prepare", "evaluate"]),
    ],
)
def test_a_list_may_be_written_with_commas(
    yaml_file: Path, override: str, stages: list[str]
) -> None:
    assert load_config(yaml_file, [override]).stages == stages


def test_a_list_may_be_null_where_the_schema_allows(yaml_file: Path) -> None:
    assert load_config(yaml_file, ["languages=en,de"]).languages == ["en", "de"]
    assert load_config(yaml_file, ["languages=en,de", "languages=null"]).languages is None


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("prepare.limitt=5", ("prepare.limitt", "Did you mean: 'limit'")),
        ("prepar.limit=5", ("prepar", "Did you mean: 'prepare'")),
        ("prepare.limit=many", ("prepare.limit", "'many'")),
        ("prepare.limit=0", ("prepare.limit", "> 0", "0")),
        ("prepare.min_duration=40", ("prepare.min_duration", "40")),
        ("prepare=5", ("prepare: ", "5")),
        ("stages.first=prepare", ("stages",)),
        ("train_codec.phases.p.betas=[0.9, high]", ("train_codec.phases.p.betas", "'high'")),
        ("train_codec.phases.p=5", ("train_codec.phases.p: ", "5")),
        ("seed=1.5", ("seed", "1.5")),
        ("threads=-1", ("threads", "-1")),
        ("stages=encode", ("stages", "encode_corpus", "encode")),
        ("stages=", ("stages", "[]")),
        ("corpus=null", ("corpus",)),
        ("prepare.limit", ("key=value", "prepare.limit")),
        ("=5", ("key=value",)),
        ("prepare.limit=[1", ("not valid YAML",)),
        ("corpus=${nowhere}", ("corpus", "nowhere")),
        ("espeak.train_voices=0", ("espeak.train_voices",)),
    ],
)
def test_a_wrong_override_names_its_key(
    yaml_file: Path, override: str, parts: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(yaml_file, [override])
    assert [part for part in parts if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("corpus: espeak\n", "run"),
        ("corpus: espeak\nrun: x\nsed: 3\n", "Did you mean: 'seed'"),
        ("corpus: espeak\nrun: x\nprepare: [1]\n", "prepare: "),
        ("corpus: [unclosed\n", "not valid YAML"),
        ("corpus: a\ncorpus: b\n", "not valid YAML"),
        ("- a\n- b\n", "expected a mapping"),
        ("base: run.yaml\n", "its own base"),
        ("base: ../../other.yaml\n", "file name of the same folder"),
        ("base: absent.yaml\n", "absent.yaml"),
    ],
)
def test_a_wrong_file_is_named(yaml_file: Path, text: str, part: str) -> None:
    yaml_file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=part) as caught:
        load_config(yaml_file)
    assert ".yaml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


def test_saved_settings_are_read_back_the_same(yaml_file: Path, tmp_path: Path) -> None:
    config = load_config(yaml_file, ["languages=en", "prepare.limit=3", "stages=prepare"])
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config


def test_settings_are_written_as_omegaconf_writes_them() -> None:
    words = ["corpus=1e3", "run=007", "languages=en,'no','on'", "train_text.vocab_size=32"]
    for name in ("smoke.yaml", "hh_24khz.yaml"):
        config = load_config(ROOT / "recipes/configs" / name, words)
        assert settings_yaml(config) == OmegaConf.to_yaml(OmegaConf.structured(config))


def test_threads_default_to_what_the_process_may_use(yaml_file: Path) -> None:
    assert thread_count(load_config(yaml_file)) >= 1
    assert thread_count(load_config(yaml_file, ["threads=3"])) == 3


@pytest.mark.parametrize(("name", "schema"), [("anchors", AnchorsConfig), ("adapt", AdaptConfig)])
def test_the_files_of_the_comparisons_load(name: str, schema: type) -> None:
    settings = load_settings(
        schema, ROOT / "recipes/configs" / f"{name}.yaml", ["corpus=c", "run=r"]
    )
    assert isinstance(settings, schema)


def test_an_override_wins_and_a_list_may_be_written_with_commas() -> None:
    settings = load_settings(
        AnchorsConfig,
        ROOT / "recipes/configs" / "anchors.yaml",
        ["corpus=c", "run=r", "metrics=stoi,mel_l1", "clips=3", "codec=runs/a/model"],
    )
    assert settings.metrics == ["stoi", "mel_l1"]
    assert (settings.clips, settings.codec) == (3, ["runs/a/model"])


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["corpus=c"], "run"),
        (["corpus=c", "run=r", "metric=stoi"], "metric"),
        (["corpus=c", "run=r", "clips=many"], "clips"),
        (["corpus=c", "run=r", "clips=0"], "clips: expected a number >= 1, got 0"),
        (["corpus=c", "run=r", "codec=a/x,b/x"], "distinct names"),
        (["corpus"], "expected key=value"),
    ],
)
def test_a_wrong_setting_is_named(overrides: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_settings(AnchorsConfig, ROOT / "recipes/configs" / "anchors.yaml", overrides)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("tokenizers.odd.kind=mp3", "kind: expected one of hh, "),
        ("prompt_seconds=2,1", "prompt_seconds: expected"),
        ("steps=0", "steps: expected a number > 0"),
    ],
)
def test_a_wrong_setting_of_adapt_is_named(override: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_settings(
            AdaptConfig, ROOT / "recipes/configs" / "adapt.yaml", ["corpus=c", "run=r", override]
        )


@pytest.mark.parametrize("value", ["auto", "true", "false"])
def test_bfloat16_is_a_truth_value_or_left_to_the_device(value: str) -> None:
    config = load_config(
        ROOT / "recipes/configs/smoke.yaml", ["corpus=x", "run=y", f"train_slm.bf16={value}"]
    )
    assert config.train_slm.bf16 == {"auto": "auto", "true": True, "false": False}[value]


@pytest.mark.parametrize("name", ["mini", "hh_24khz", "digits", "harmonic_mini", "slm_mini"])
def test_recipes_leave_the_precision_to_the_device(name: str) -> None:
    config = load_config(ROOT / f"recipes/configs/{name}.yaml", ["corpus=x", "run=y"])
    assert config.train_codec.precision == "auto"
    assert config.train_slm.bf16 == "auto"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("train_text: {languages: [en, no]}", r"languages\[1\]: expected a text, got false"),
        ("corpus: on", "corpus: expected a text, got true"),
        ("corpora: {download: 2}", "corpora.download: expected true or false, got 2"),
    ],
)
def test_no_truth_value_becomes_a_text_and_no_number_a_truth_value(
    text: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(f"run: r\n{text}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=reason):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize("word", ["007", "1e3", "12:30", "1_000", "0x10", "-0.50", "1.10", ".inf"])
def test_a_text_is_what_is_written_and_not_the_number_that_yaml_reads(
    word: str, tmp_path: Path
) -> None:
    (tmp_path / "base.yaml").write_text(f"corpus: {word}\n", encoding="utf-8")
    (tmp_path / "a.yaml").write_text(
        f"base: base.yaml\nrun: {word}\ntrain_text: {{languages: [en, {word}]}}\n", encoding="utf-8"
    )
    config = load_config(tmp_path / "a.yaml")
    assert (config.corpus, config.run, config.train_text.languages[1]) == (word,) * 3
    words = [f"run={word}0", f"train_text.languages={word},de"]
    config = load_config(tmp_path / "a.yaml", words)
    assert (config.run, config.train_text.languages) == (f"{word}0", [word, "de"])
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config
