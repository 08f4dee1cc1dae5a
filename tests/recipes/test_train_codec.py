import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from codec import CodecConfig, HHCodec
from codec.files import write_json
from codec.model.whisper_encoder import WhisperEncoder
from codec.training.config import FitConfig
from codec.training.optimizers import discriminator_rate_factor, learning_rate_factor
from recipes.runner.config import ConfigError, load_config
from recipes.runner.inputs import codec_sizes, missing_inputs
from recipes.runner.schema import shared_fields
from recipes.runner.schema_corpora import PrepareConfig
from recipes.runner.stages import StageError, run_stages, settings_of
from recipes.train_codec import build_codec, figures, take_as_it_is
from tests.support import forked
from tests.support.codecs import tiny_codec

CONFIGS = Path(__file__).parents[2] / "recipes" / "configs"
STARTING = ["continue_mini.yaml", "harmonic_mini.yaml", "digits.yaml", "ablations/base.yaml"]


@pytest.mark.parametrize("name", STARTING)
def test_recipes_that_go_on_from_a_shipped_codec_fit_it(name, tmp_path):
    """A release with other sizes would stop them at their first step."""
    config = load_config(CONFIGS / name, [f"run={tmp_path}", "corpus=espeak"])
    assert config.codec.start == "hh-mini-24k"
    build_codec(config)


def test_parts_that_a_start_lacks_begin_as_nothing(tmp_path):
    overrides = [
        f"run={tmp_path}",
        "codec.preset=tiny",
        "codec.overrides={encoder: {attention_layers: 1}, decoder: {attention_layers: 2}}",
    ]
    start = tiny_codec()
    start.save_pretrained(tmp_path / "start")
    config = load_config(CONFIGS / "smoke.yaml", [*overrides, f"codec.start={tmp_path / 'start'}"])
    codec = build_codec(config).eval()
    assert len(codec.decoder.attention) == 2
    waveform = 0.1 * torch.randn(1, 8 * 1024)
    codes, lengths = start.encode(waveform)
    assert torch.equal(codec.encode(waveform)[0], codes)
    assert torch.equal(codec.decode(codes, lengths)[0], start.decode(codes, lengths)[0])


def test_an_encoder_never_takes_the_states_of_a_whisper_of_random_weights(tmp_path):
    """Without its weights, or with a start that has none, it trained on noise and said nothing."""
    tiny_codec().save_pretrained(tmp_path / "start")
    sizes = "{speech_layers: 1, speech_dim: 16, speech_heads: 2}"
    overrides = [f"run={tmp_path}", "codec.preset=tiny", f"codec.overrides.encoder={sizes}"]
    for start in ([], [f"codec.start={tmp_path / 'start'}"]):
        config = load_config(CONFIGS / "smoke.yaml", [*overrides, *start])
        with pytest.raises(ValueError, match=r"codec\.speech_encoder_from: expected a folder"):
            build_codec(config)
    config.codec.start = None
    codec = HHCodec(codec_sizes(config.codec))
    codec.save_pretrained(tmp_path / "own")
    own = load_config(CONFIGS / "smoke.yaml", [*overrides, f"codec.start={tmp_path / 'own'}"])
    weights = build_codec(own).get_submodule("encoder.speech").state_dict()
    for name, value in codec.get_submodule("encoder.speech").state_dict().items():
        assert torch.equal(value, weights[name])
    own.codec.start_parts = ["decoder"]
    with pytest.raises(ValueError, match=r"codec\.speech_encoder_from: expected a folder"):
        build_codec(own)


def test_the_codec_at_scale_is_that_of_one_gpu_with_its_crops_shared(tmp_path):
    overrides = [f"run={tmp_path}"]
    one = load_config(CONFIGS / "hh_24khz.yaml", overrides)
    eight = load_config(CONFIGS / "scale" / "hh_24khz_8gpu.yaml", overrides)
    assert eight.train_codec.devices * eight.train_codec.num_nodes == 8
    for name, phase in eight.train_codec.phases.items():
        alone = one.train_codec.phases[name]
        assert (alone.batch_size, phase.batch_size) == (48, 192)
        assert phase.steps > alone.steps
        phase.batch_size, phase.steps = alone.batch_size, alone.steps
    assert settings_of(one, "train_codec") == settings_of(eight, "train_codec")
    settings = shared_fields(eight.train_codec, FitConfig)
    assert (settings["devices"], settings["num_nodes"], settings["strategy"]) == (8, 1, "ddp")
    assert {each.name for each in fields(FitConfig)} - {*settings} == {
        *("seed", "auxiliary_from", "earlier_phases")
    }


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("devices=5", "phases.joint: batch_size: expected a multiple of 5 processes"),
        ("devices=0", "train_codec.devices: expected a whole number >= 1, got 0"),
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


@pytest.mark.slow
@pytest.mark.launches
def test_processes_that_the_command_starts_train_every_phase_and_the_first_saves(
    make_corpus, tmp_path
):
    """And goes on alone, with the stage that comes next."""
    corpus, _ = make_corpus((4, 2, 1))
    command = [str(CONFIGS / "smoke.yaml"), "stages=prepare,train_codec,encode_corpus"]
    command += [f"corpus={corpus}", f"run={tmp_path / 'run'}", "threads=2"]
    command += ["train_codec.accelerator=cpu", "train_codec.devices=2"]
    output = tmp_path / "printed.txt"
    status = forked.run(forked.command, "recipes.run_all", command, output=output)
    assert status == 0, forked.printed(output)
    stage = tmp_path / "run" / "train_codec"
    figures = json.loads((stage / "done.json").read_text())["metrics"]
    assert HHCodec.from_pretrained(stage / "model").fingerprint == figures["fingerprint"]
    for phase in ("vocoder", "vocoder_gan", "codec"):
        lines = (stage / phase / "metrics.jsonl").read_text().splitlines()
        splits = [json.loads(line)["split"] for line in lines]
        assert splits.count("train") == splits.count("valid") == 1, phase
    assert (tmp_path / "run" / "encode_corpus" / "done.json").is_file()


@pytest.mark.parametrize("preset", ["hh_24khz", "hh_24khz_bigvgan", "mini", "tiny"])
def test_presets_encode_at_the_level_of_prepared_clips(preset):
    assert CodecConfig.preset(preset).loudness_dbfs == PrepareConfig().loudness_dbfs


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["prepare.loudness_dbfs=-20"], "expected -23, the loudness_dbfs of codec tiny, got -20"),
        (["prepare.loudness_dbfs=null"], "expected -23, .*, got null"),
        (["codec.overrides.loudness_dbfs=null"], "expected null, .*, got -23"),
    ],
)
def test_a_codec_of_another_level_than_its_clips_is_refused(overrides, part, tmp_path):
    """A recording that a user encodes would come to it at another level than those did."""
    both = [f"run={tmp_path}", "corpus=espeak", *overrides]
    with pytest.raises(ValueError, match=f"prepare.loudness_dbfs: {part}"):
        build_codec(load_config(CONFIGS / "smoke.yaml", both))
    same = ["prepare.loudness_dbfs=null", "codec.overrides.loudness_dbfs=null"]
    build_codec(load_config(CONFIGS / "smoke.yaml", [f"run={tmp_path}", "corpus=espeak", *same]))


def test_a_codec_without_a_level_is_not_taken_for_clips_of_one(tmp_path):
    values = CodecConfig.preset("tiny").to_dict() | {"loudness_dbfs": None}
    HHCodec(CodecConfig.from_dict(values)).save_pretrained(tmp_path / "start")
    overrides = [f"run={tmp_path / 'run'}", "corpus=espeak", f"codec.start={tmp_path / 'start'}"]
    config = load_config(CONFIGS / "smoke.yaml", overrides)
    with pytest.raises(ValueError, match=r"prepare\.loudness_dbfs: expected null"):
        take_as_it_is(config, tmp_path)
    unchanged = load_config(CONFIGS / "smoke.yaml", [*overrides, "prepare.loudness_dbfs=null"])
    assert (take_as_it_is(unchanged, tmp_path) / "model").is_dir()


def test_the_papers_codec_trains_by_the_settings_its_comments_name(tmp_path):
    config = load_config(CONFIGS / "hh_24khz.yaml", [f"run={tmp_path}"])
    frozen, joint = config.train_codec.phases.values()
    for phase in (frozen, joint):
        assert (phase.clip, phase.feature_matching_average) == ("part", "kind")
    # The first phase ends at the peak that the second rises to and falls from.
    assert learning_rate_factor(frozen, frozen.steps - 1) == 1.0
    assert learning_rate_factor(joint, joint.steps) == pytest.approx(0.01)
    assert frozen.learning_rate == joint.learning_rate
    assert discriminator_rate_factor(frozen, frozen.adversarial_from) < 0.01


def test_figures_are_read_though_the_last_line_of_metrics_is_torn(tmp_path):
    """As a machine leaves it that lost its power, behind a phase that is finished."""
    torch.manual_seed(0)
    codec = HHCodec(CodecConfig.preset("tiny"))
    lines = [{"step": step, "split": "valid", "mel": mel} for step, mel in ((2, 2.0), (4, 1.0))]
    path = tmp_path / "codec" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "spl')
    assert figures(codec, tmp_path, ["codec"])["phases"]["codec"] == {"step": 4, "mel": 1.0}


WORD_OPTIONS = sorted(path.name for path in (CONFIGS / "word_options").glob("*.yaml"))


@pytest.mark.parametrize("name", WORD_OPTIONS)
def test_every_option_for_words_starts_from_the_shipped_codec(name, tmp_path, monkeypatch):
    """A part of other sizes would begin anew, and could not be compared with the others."""
    model = tmp_path / "models" / "whisper-tiny.en"
    model.mkdir(parents=True)
    sizes = {"d_model": 16, "encoder_layers": 4, "encoder_attention_heads": 2}
    write_json(model / "config.json", {"model_type": "whisper", "num_mel_bins": 80, **sizes})
    state = WhisperEncoder(16, 4, 2).state_dict()
    save_file({f"model.encoder.{k}": v for k, v in state.items()}, model / "model.safetensors")
    alignments = tmp_path / "here" / "runs" / "phones" / "train_text"
    alignments.mkdir(parents=True)
    for split in ("train", "valid"):
        (alignments / f"{split}.alignment.jsonl").touch()
    monkeypatch.chdir(tmp_path / "here")
    narrow = ["codec.overrides.encoder.speech_dim=16", "codec.overrides.encoder.speech_heads=2"]
    overrides = [f"run={tmp_path}", "corpus=espeak", *narrow]
    config = load_config(CONFIGS / "word_options" / name, overrides)
    assert list(missing_inputs(config, ["prepare", "train_codec"])) == []
    (phase,) = config.train_codec.phases.values()
    assert (phase.steps, phase.batch_size, phase.crop_codes) == (1500, 8, 64)
    codec, start = build_codec(config), HHCodec.from_pretrained("hh-mini-24k", fold=False)
    for part in set(config.codec.start_parts) - {"quantizer"}:
        own = codec.get_submodule(part).state_dict()
        for tensor, value in start.get_submodule(part).state_dict().items():
            assert torch.equal(own[tensor], value), tensor
