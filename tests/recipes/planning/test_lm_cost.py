from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from recipes.planning.accelerators import ACCELERATORS, accelerator
from recipes.planning.calibration import packed_utterances
from recipes.planning.lm_cost import (
    Corpus,
    Run,
    memory,
    parameters,
    step_seconds,
    step_tokens,
    steps,
    token_operations,
)
from recipes.planning.plan import model_config
from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from slm.training.flops import _PEAKS, training_flops

ROOT = Path(__file__).resolve().parents[3]
SCALE = sorted((ROOT / "recipes" / "configs" / "scale").glob("*.yaml"))


def narrow(num_layers: int = 2, **sizes: int) -> SpeechLMConfig:
    """Blocks of a real width under a small vocabulary."""
    return SpeechLMConfig(
        vocabulary=Vocabulary(40, 64).to_dict(),
        codec_fingerprint="planned",
        frame_rate=23.4375,
        num_layers=num_layers,
        **{"dim": 128, "num_heads": 2, **sizes},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("sizes", [{}, {"num_heads": 4, "num_kv_heads": 2, "dim_head": 32}])
def test_parameters_are_those_of_the_model(sizes: dict[str, int]) -> None:
    config = narrow(**sizes)
    assert parameters(config) == SpeechLM(config).num_parameters


def test_operations_are_those_that_training_counts() -> None:
    """The mean over documents of equal length is exact."""
    config = narrow()
    lm = SpeechLM(config)
    batch = packed_utterances(lm, 2, 1024)
    lengths = torch.bincount((batch.document_ids + 100 * torch.arange(2)[:, None]).flatten() + 1)
    tokens = int((batch.document_ids >= 0).sum())
    documents = int((lengths > 10).sum()) - 2  # less the padding of both rows
    seconds = tokens / documents / (23.4375 + 5) - 4 / (23.4375 + 5)
    corpus = Corpus(1.0, utterance_seconds=seconds, prompt_probability=0.0)
    assert token_operations(config, corpus) * tokens == pytest.approx(
        training_flops(config, batch), rel=0.02
    )


def kept_bytes(lm: SpeechLM, rows: int, seq_len: int, bf16: bool) -> int:
    """Bytes of the tensors that autograd keeps for the backward pass, parameters not counted."""
    own = {parameter.untyped_storage().data_ptr() for parameter in lm.parameters()}
    # No backward pass follows. A tensor that the graph got back from the hook would hold the graph,
    # and be held by it for good; a storage holds nothing, and keeps its address from another.
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage

    batch = packed_utterances(lm, rows, seq_len)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda nothing: nothing),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        lm.hidden(batch.tokens, batch.positions, batch.document_ids)
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("sizes", [{}, {"dim": 256, "num_heads": 4, "ff_mult": 3}])
def test_activations_are_what_autograd_keeps(
    sizes: dict[str, int], recompute: bool, bf16: bool
) -> None:
    """The difference of three layers and one, so that what lies around the blocks drops out."""
    rows, seq_len = 1, 640
    run = Run(seq_len, rows, devices=1, recompute=recompute, bf16=bf16)
    planned, counted = [], []
    for layers in (1, 3):
        config = narrow(layers, **sizes)
        lm = SpeechLM(config).train()
        lm.recompute_activations(recompute)
        planned.append(memory(config, run).activations)
        counted.append(kept_bytes(lm, rows, seq_len, bf16))
    assert planned[1] - planned[0] == pytest.approx(counted[1] - counted[0], rel=0.05)


def test_memory_of_weights_and_optimizer() -> None:
    config = model_config("medium", 2048)
    count = parameters(config)
    whole = memory(config, Run(devices=8))
    assert whole.weights + whole.gradients + whole.optimizer == 16 * count
    spread = memory(config, Run(devices=8, strategy="fsdp"))
    assert spread.weights + spread.gradients + spread.optimizer == 2 * count
    assert spread.gathered > 0
    assert memory(config, Run(devices=8, recompute=True)).activations < 0.5 * whole.activations


def test_an_hour_of_speech_in_tokens() -> None:
    corpus = Corpus(1.0, text_rate=0.0, utterance_seconds=10.0, prompt_probability=0.0)
    assert corpus.tokens == pytest.approx(3600 * 23.4375 + 360 * 4)
    run = Run(seq_len=1000, batch_size=10, devices=1, epochs=2.0)
    plain = replace(corpus, padding=0.0)
    assert step_tokens(plain, run) == 10_000
    assert steps(plain, run) == 18  # 171,630 tokens


def test_twice_the_devices_take_half_the_time_where_the_link_is_fast() -> None:
    config, corpus = model_config("medium", 2048), Corpus(1000.0)
    device = accelerator("h100")
    one = step_seconds(config, corpus, Run(devices=1), device, efficiency=0.4)
    eight = step_seconds(config, corpus, Run(devices=8), device, efficiency=0.4)
    assert 7 < one / eight <= 8
    slow = replace(device, link_gbs=5.0)
    assert step_seconds(config, corpus, Run(devices=8), slow, efficiency=0.4) > 1.5 * eight


def test_the_table_agrees_with_the_peaks_that_training_reports_against() -> None:
    names = {"A100-80GB": "A100", "A6000": "A6000", "RTX-4090": "RTX 4090", "RTX-3090": "RTX 3090"}
    names |= {"A100-40GB": "A100", "H100-PCIe": "H100 PCIe"}
    for name, device in ACCELERATORS.items():
        assert device.tflops == _PEAKS[names.get(name, name)], name


@pytest.mark.parametrize(
    ("made", "part"),
    [
        (lambda: Corpus(0.0), "hours: expected a number > 0, got 0.0"),
        (lambda: Corpus(1.0, padding=1.0), "padding: expected a number in"),
        (lambda: Run(strategy="zero"), "strategy: expected ddp or fsdp, got 'zero'"),
        (lambda: Run(batch_size=12), "batch_size: expected it or accumulate"),
        (lambda: Run(devices=8, nodes=3), "devices: expected a multiple of 3 nodes"),
        (lambda: accelerator("V100"), "gpu: expected one of B200"),
        (lambda: model_config("huge", 2048), "expected a preset"),
    ],
)
def test_what_cannot_be_planned_is_refused(made: object, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        made()  # type: ignore[operator]


@pytest.mark.parametrize(
    "path",
    [path for path in SCALE if not path.stem.startswith("hh_")],
    ids=lambda path: path.stem,
)
def test_the_settings_at_scale_load_and_fit_their_gpus(path: Path) -> None:
    """Each says in its first lines what it is for; the planner holds it to that."""
    from recipes.runner.config import load_config
    from recipes.train_slm import training_settings

    settings = load_config(path, ["run=runs/planned"]).train_slm
    about = yaml.safe_load(path.read_text().split("plan: ")[1].splitlines()[0])
    training = training_settings(load_config(path, ["run=runs/planned"]))
    run = Run(
        settings.seq_len,
        settings.batch_size,
        settings.accumulate,
        devices=settings.devices * settings.num_nodes,
        nodes=settings.num_nodes,
        strategy="ddp" if settings.strategy == "auto" else settings.strategy,
        recompute=training.recompute,
        bf16=bool(settings.bf16),
        epochs=about["epochs"],
    )
    corpus = Corpus(about["hours"], text_rate=about["text_rate"])
    needed = memory(model_config(settings.preset, settings.seq_len), run)
    assert needed.total / 1e9 + 4 <= accelerator(about["gpu"]).memory_gb
    assert settings.steps == pytest.approx(steps(corpus, run), rel=0.02)
