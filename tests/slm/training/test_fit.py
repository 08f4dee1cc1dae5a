import functools
import shutil
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore
from slm.data.vocabulary import Vocabulary
from slm.model.likelihood import nats_per_code
from slm.model.speech_lm import SpeechLM
from slm.text.sentencepiece_tokenizer import TextTokenizer
from slm.training.config import Machines
from slm.training.fit import fit_speech_lm
from slm.training.microbatches import MicroBatches
from tests.slm.training import tiny_run
from tests.support import forked
from tests.support.builders import SETTINGS, fit, metrics_of


def test_a_killed_run_resumed_equals_one_that_was_not_bit_for_bit(
    store: TokenStore, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    text = tokenizer.save(tmp_path / "text")
    # Batches 14 and 15 are those of step 8, the last checkpoint is then that of step 5. Lightning
    # asks for a batch one early, and the thread behind it one more.
    given = (tiny_run.train_until_killed, tmp_path / "killed", store.folder, text, 17)
    status = forked.run(*given, output=tmp_path / "printed.txt")
    assert status == -signal.SIGKILL, forked.printed(tmp_path / "printed.txt")
    steps = [line["step"] for line in metrics_of(tmp_path / "killed")]
    assert steps in (list(range(1, 8)), list(range(1, 9)))
    resumed = tiny_run.train(tmp_path / "killed", store.folder, text)
    straight = tiny_run.train(tmp_path / "straight", store.folder, text)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    keys = ("step", "loss", "lr", "valid_nats_per_code")
    first, second = metrics_of(tmp_path / "killed"), metrics_of(tmp_path / "straight")
    assert [[m.get(k) for k in keys] for m in first] == [[m.get(k) for k in keys] for m in second]


def test_training_learns_the_pattern_of_the_codes(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    rows = make_rows(prompt_probability=0.0)
    lm = make_lm(gain=1.0)
    batches = list(rows.epoch_batches())
    before = nats_per_code(lm, batches)
    fit(lm, rows, tmp_path, max_steps=60, checkpoint_every=60, validate_every=60)
    after = nats_per_code(lm, batches)
    assert before > 4.0
    assert after < 0.6 * before


def test_metrics_hold_every_step_and_validation_where_it_was_due(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    rows = make_rows()
    validation = list(rows.epoch_batches())[:1]
    fit_speech_lm(
        lm,
        rows,
        tmp_path,
        settings=replace(SETTINGS, max_steps=3),
        validation=validation,
        accelerator="cpu",
        progress=False,
    )
    metrics = metrics_of(tmp_path)
    assert [line["step"] for line in metrics] == [1, 2, 3]
    assert ["valid_nats_per_code" in line for line in metrics] == [False, True, True]
    assert metrics[-1]["valid_nats_per_code"] == pytest.approx(nats_per_code(lm, validation))
    assert all(line["tokens_per_second"] > 0 for line in metrics)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "last.ckpt"}


def test_accumulating_two_batches_reports_their_mean_loss(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    rows, lm = make_rows(), make_lm()
    losses = [
        lm.loss(b.tokens, b.loss_weights, document_ids=b.document_ids, positions=b.positions).item()
        for b in (rows.batch(0), rows.batch(1))
    ]
    fit(lm, rows, tmp_path, max_steps=2, accumulate=2, warmup_steps=0)
    assert metrics_of(tmp_path)[0]["loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_a_finished_run_loads_instead_of_training_again(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    trained = fit(make_lm(), make_rows(), tmp_path)
    stamp = (tmp_path / "last.ckpt").stat().st_mtime_ns
    again = fit(make_lm(), make_rows(), tmp_path)
    assert (tmp_path / "last.ckpt").stat().st_mtime_ns == stamp
    for name, value in trained.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_bfloat16_training_keeps_float32_weights(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    fit(lm, make_rows(), tmp_path, bf16=True)
    assert {parameter.dtype for parameter in lm.parameters()} == {torch.float32}
    assert all(line["loss"] > 0 for line in metrics_of(tmp_path))


def test_a_loss_that_is_not_finite_stops_the_run(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    with torch.no_grad():
        lm.head.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="finite loss, got nan at step 1"):
        fit(lm, make_rows(), tmp_path)
    assert not (tmp_path / "last.ckpt").exists()


def test_every_step_says_its_gradient_norm_and_what_share_of_the_peak_it_used(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    rows, lm = make_rows(), make_lm()
    batch = rows.batch(0)
    lm.loss(
        batch.tokens,
        batch.loss_weights,
        positions=batch.positions,
        document_ids=batch.document_ids,
    ).backward()
    whole = torch.cat([p.grad.flatten() for p in lm.parameters() if p.grad is not None])
    fit(make_lm(), rows, tmp_path, gradient_clip=1e-3)
    metrics = metrics_of(tmp_path)
    assert metrics[0]["gradient_norm"] == pytest.approx(float(whole.norm()), rel=1e-4)
    assert all(0 < line["mfu"] < 1.5 for line in metrics)


@pytest.mark.parametrize(
    "changes",
    [{"optimizer": "muon"}, {"schedule": "wsd"}, {"recompute": True}, {"attention": "mask"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_run_cut_off_between_steps_continues_to_the_bit(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    """With three batches a step: the fourth step must begin at batch 9, not 3."""
    rows = make_rows()
    given = {"accumulate": 3, "min_learning_rate": 3e-3, **changes}  # a rate that stays
    straight = fit(make_lm(), rows, tmp_path / "a", max_steps=5, **given)
    fit(make_lm(), rows, tmp_path / "b", max_steps=3, **given)
    resumed = fit(make_lm(seed=1), rows, tmp_path / "b", max_steps=5, **given)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    losses = [[line["loss"] for line in metrics_of(tmp_path / run)] for run in "ab"]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 5


def test_rows_of_another_codec_are_refused(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="codec_fingerprint: expected the model's, another"):
        fit(make_lm(codec_fingerprint="another"), make_rows(), tmp_path)


def test_settings_that_do_not_go_together_are_refused(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    for machines, changes, message in (
        (Machines("cpu", 2, 1, "fsdp"), {"optimizer": "muon"}, "needs whole matrices"),
        (Machines("cpu", 2, 1, "fsdp"), {"compile": True}, "compile: expected false"),
        (Machines("cpu", 3), {}, "multiple of 3 processes"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_speech_lm(
                lm,
                make_rows(),
                tmp_path,
                settings=replace(SETTINGS, **changes),
                machines=machines,
                progress=False,
            )


def test_a_model_is_only_compiled_while_it_trains(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compile_eagerly = functools.partialmethod(SpeechLM.compile_training, backend="eager")
    monkeypatch.setattr(SpeechLM, "compile_training", compile_eagerly)
    rows = make_rows()
    plain = fit(make_lm(), rows, tmp_path / "plain", attention="mask")
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters["stats"]
    counters.clear()
    lm = fit(make_lm(), rows, tmp_path / "compiled", compile=True)
    assert counters["unique_graphs"] == 1
    assert lm.compiled is None
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(lm.state_dict()[name], value, atol=1e-5, rtol=1e-4)


def test_what_training_changes_of_a_model_beside_its_weights_is_undone(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    kinds = [type(module) for module in make_lm().modules()]
    lm = make_lm()
    with torch.no_grad():
        lm.head.weight[0, 0] = float("nan")
    for folder, model in (("a", make_lm()), ("b", lm)):
        if model is lm:
            with pytest.raises(ValueError, match="finite loss"):
                fit(model, make_rows(), tmp_path / folder, recompute=True, attention="mask")
        else:
            fit(model, make_rows(), tmp_path / folder, recompute=True, attention="mask")
        assert [type(module) for module in model.modules()] == kinds
        assert model.attention_kernel == "auto"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("attention", ["auto", "mask", "flex"])
def test_compiled_training_on_cuda_learns_as_on_the_processor(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    attention: str,
) -> None:
    """Never run where this was written, for want of a device: bfloat16, one graph a shape."""
    rows = make_rows()
    fit(make_lm(gain=1.0), rows, tmp_path / "cpu", max_steps=20)
    settings = replace(SETTINGS, max_steps=20, bf16=True, compile=True, attention=attention)
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters["stats"]
    counters.clear()
    options: dict[str, Any] = {"settings": settings, "accelerator": "cuda", "progress": False}
    fit_speech_lm(make_lm(gain=1.0), rows, tmp_path / "cuda", **options)
    assert counters["unique_graphs"] == 1
    losses = [[line["loss"] for line in metrics_of(tmp_path / run)] for run in ("cpu", "cuda")]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert all(0 < line["mfu"] < 1 for line in metrics_of(tmp_path / "cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_for_a_cuda_device_are_pinned(make_rows: Callable[..., PackedDataset]) -> None:
    """Never run where this was written, for want of a device."""
    torch.cuda.init()
    with closing(MicroBatches(make_rows(), 1, start_step=0, stop_step=3, pinned=True)) as batches:
        for each in batches:
            assert all(tensor.is_pinned() for tensor in (*each.batch, each.total_weight))


def test_a_store_in_which_a_bit_has_changed_is_not_trained_on(
    make_lm: Callable[..., SpeechLM],
    store: TokenStore,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    tmp_path: Path,
) -> None:
    shutil.copytree(store.folder, tmp_path / "store")
    path = next((tmp_path / "store").glob("*.u16"))
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    damaged = [TokenStore(tmp_path / "store")]
    rows = PackedDataset(damaged, tokenizer, vocabulary, seq_len=128, batch_size=2)
    with pytest.raises(ValueError, match=f"got others or none: {path.name}"):
        fit(make_lm(), rows, tmp_path / "run")
