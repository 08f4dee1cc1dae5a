import functools
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import slm.dataset
from slm.config import Machines, TrainingSettings
from slm.dataset import PackedBatch, PackedRows
from slm.model import SpeechLM
from slm.scoring import nats_per_code
from slm.store import TokenStore
from slm.text import TextTokenizer
from slm.training import fit_speech_lm

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "tiny_run.py"
SETTINGS = TrainingSettings(
    max_steps=4, warmup_steps=1, validate_every=2, checkpoint_every=2, learning_rate=3e-3
)


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def fit(lm: SpeechLM, rows: PackedRows, folder: Path, **changes: Any) -> SpeechLM:
    settings = replace(SETTINGS, **changes)
    return fit_speech_lm(lm, rows, folder, settings=settings, accelerator="cpu", progress=False)


def test_a_killed_run_resumed_equals_one_that_was_not_bit_for_bit(
    store: TokenStore, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    text = tokenizer.save(tmp_path / "text")
    # Batches 14 and 15 are those of step 8, the last checkpoint is then that of step 5. Lightning
    # asks for a batch one early, and the thread behind it one more.
    killed = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "killed"), str(store.folder), str(text), "17"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    steps = [line["step"] for line in metrics_of(tmp_path / "killed")]
    assert steps in (list(range(1, 8)), list(range(1, 9)))
    train = runpy.run_path(str(SCRIPT))["train"]
    resumed = train(tmp_path / "killed", store.folder, text)
    straight = train(tmp_path / "straight", store.folder, text)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    keys = ("step", "loss", "lr", "valid_nats_per_code")
    first, second = metrics_of(tmp_path / "killed"), metrics_of(tmp_path / "straight")
    assert [[m.get(k) for k in keys] for m in first] == [[m.get(k) for k in keys] for m in second]


def test_training_learns_the_pattern_of_the_codes(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
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
    lm: SpeechLM, make_rows: Callable[..., PackedRows], tmp_path: Path
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
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    rows, lm = make_rows(), make_lm()
    losses = [
        lm.loss(b.tokens, b.loss_weights, document_ids=b.document_ids, positions=b.positions).item()
        for b in (rows.batch(0), rows.batch(1))
    ]
    fit(lm, rows, tmp_path, max_steps=2, accumulate=2, warmup_steps=0)
    assert metrics_of(tmp_path)[0]["loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_a_finished_run_loads_instead_of_training_again(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    trained = fit(make_lm(), make_rows(), tmp_path)
    stamp = (tmp_path / "last.ckpt").stat().st_mtime_ns
    again = fit(make_lm(), make_rows(), tmp_path)
    assert (tmp_path / "last.ckpt").stat().st_mtime_ns == stamp
    for name, value in trained.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_bfloat16_training_keeps_float32_weights(
    lm: SpeechLM, make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    fit(lm, make_rows(), tmp_path, bf16=True)
    assert {parameter.dtype for parameter in lm.parameters()} == {torch.float32}
    assert all(line["loss"] > 0 for line in metrics_of(tmp_path))


def test_a_checkpoint_that_does_not_fit_is_refused(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    rows = make_rows()
    fit(make_lm(), rows, tmp_path)
    with pytest.raises(ValueError, match="model of other sizes"):
        fit(make_lm(dim=96), rows, tmp_path, max_steps=9)
    with pytest.raises(ValueError, match="at most max_steps = 3"):
        fit(make_lm(), rows, tmp_path, max_steps=3)
    with pytest.raises(ValueError, match="at most max_seq_len = 96"):
        fit(make_lm(max_seq_len=96), rows, tmp_path / "b")


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedRows],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import lightning

    fit(make_lm(), make_rows(), tmp_path)
    before = (tmp_path / "last.ckpt").read_bytes()

    def save(trainer: lightning.Trainer, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lightning.Trainer, "save_checkpoint", save)
    with pytest.raises(OSError, match="No space"):
        fit(make_lm(), make_rows(), tmp_path, max_steps=6)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert not list(tmp_path.glob(".*partial*"))


def test_a_loss_that_is_not_finite_stops_the_run(
    lm: SpeechLM, make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    with torch.no_grad():
        lm.head.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="finite loss, got nan at step 1"):
        fit(lm, make_rows(), tmp_path)
    assert not (tmp_path / "last.ckpt").exists()


def test_every_step_says_its_gradient_norm_and_what_share_of_the_peak_it_used(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
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
    make_rows: Callable[..., PackedRows],
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


def test_a_checkpoint_of_another_token_layout_or_codec_is_refused(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    """The sizes are the same: only what is written beside the weights tells them apart."""
    rows = make_rows()
    fit(make_lm(), rows, tmp_path)
    path = tmp_path / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    assert saved["vocabulary"] == make_lm().config.vocabulary
    for name, other in (("vocabulary", {"specials": []}), ("codec_fingerprint", "another")):
        torch.save({**saved, name: other}, path)
        with pytest.raises(ValueError, match=f"trained with {name}"):
            fit(make_lm(), rows, tmp_path, max_steps=9)
        torch.save({key: value for key, value in saved.items() if key != name}, path)
        with pytest.raises(ValueError, match=f"checkpoint that says its {name}"):
            fit(make_lm(), rows, tmp_path, max_steps=9)


def test_rows_of_another_codec_are_refused(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="expected codes of the model's codec another"):
        fit(make_lm(codec_fingerprint="another"), make_rows(), tmp_path)


def test_settings_that_do_not_go_together_are_refused(
    lm: SpeechLM, make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    for machines, changes, message in (
        (Machines("cpu", 2, 1, "fsdp"), {"optimizer": "muon"}, "needs whole matrices"),
        (Machines("cpu", 2, 1, "fsdp"), {"compile": True}, "one device or ddp"),
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
    for wrong in ({"optimizer": "sgd"}, {"schedule": "linear"}, {"decay_fraction": 0.0}):
        with pytest.raises(ValueError, match="expected"):
            replace(SETTINGS, **wrong)
    with pytest.raises(ValueError, match="strategy of"):
        Machines(strategy="zero")


def test_a_model_is_only_compiled_while_it_trains(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedRows],
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


def test_a_lost_checkpoint_is_reported_and_the_metrics_stay(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    rows = make_rows()
    fit(make_lm(), rows, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "last.ckpt").unlink()
    with pytest.raises(ValueError, match=r"expected .*last\.ckpt, as .* has 4 steps, got no such"):
        fit(make_lm(), rows, tmp_path, max_steps=6)
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_a_run_cut_off_before_its_first_due_checkpoint_goes_on(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedRows],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = make_rows()
    straight = fit(make_lm(), rows, tmp_path / "a", checkpoint_every=100)
    read = PackedRows.batch

    def unreadable(self: PackedRows, index: int) -> PackedBatch:
        if index == 3:
            raise OSError("cannot be read")
        return read(self, index)

    monkeypatch.setattr(PackedRows, "batch", unreadable)
    with pytest.raises(OSError, match="cannot be read"):
        fit(make_lm(), rows, tmp_path / "b", checkpoint_every=100)
    monkeypatch.undo()
    assert not [each for each in threading.enumerate() if each.name.startswith("read-ahead")]
    resumed = fit(make_lm(seed=1), rows, tmp_path / "b", checkpoint_every=100)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_another_checkpoint_can_be_gone_on_from_and_must_be_there(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    rows, given = make_rows(), {"min_learning_rate": 3e-3}
    straight = fit(make_lm(), rows, tmp_path / "a", max_steps=6, **given)
    fit(make_lm(), rows, tmp_path / "b", max_steps=4, **given)
    kept = (tmp_path / "b" / "last.ckpt").rename(tmp_path / "kept.ckpt")
    settings = replace(SETTINGS, max_steps=6, **given)
    options: dict[str, Any] = {"settings": settings, "accelerator": "cpu", "progress": False}
    with pytest.raises(ValueError, match=r"expected a checkpoint at resume_from = .*none\.ckpt"):
        fit_speech_lm(
            make_lm(), rows, tmp_path / "c", resume_from=tmp_path / "none.ckpt", **options
        )
    for run in "bc":  # beside the metrics of its steps, and in a new folder
        lm = fit_speech_lm(make_lm(seed=1), rows, tmp_path / run, resume_from=kept, **options)
        for name, value in straight.state_dict().items():
            assert torch.equal(lm.state_dict()[name], value), name
    assert [line["step"] for line in metrics_of(tmp_path / "b")] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in metrics_of(tmp_path / "c")] == [5, 6]
    # From here on the folder's own checkpoint counts.
    again = fit_speech_lm(make_lm(seed=2), rows, tmp_path / "c", resume_from=kept, **options)
    assert torch.equal(again.head.weight, straight.head.weight)


@pytest.mark.parametrize(
    ("rows_changes", "changes", "message"),
    [
        ({"seed": 1}, {}, "seed of the rows 0, got 1"),
        ({"batch_size": 4}, {}, "batch_size 2, got 4"),
        ({"seq_len": 96}, {}, "seq_len 128, got 96"),
        ({"prompt_probability": 0.0}, {}, r"documents.prompt_probability 0\.5, got 0\.0"),
        ({}, {"seed": 1}, "seed of the training 0, got 1"),
        ({}, {"accumulate": 2}, "accumulate 1, got 2"),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_going_on_with_other_batches_is_refused(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedRows],
    tmp_path: Path,
    rows_changes: dict[str, Any],
    changes: dict[str, Any],
    message: str,
) -> None:
    fit(make_lm(), make_rows(), tmp_path, max_steps=2)
    with pytest.raises(ValueError, match=f"trained on other batches: expected {message}"):
        fit(make_lm(), make_rows(**rows_changes), tmp_path, **changes)


def test_a_checkpoint_that_does_not_say_its_batches_goes_on_with_a_warning(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    rows, given = make_rows(), {"min_learning_rate": 3e-3}
    straight = fit(make_lm(), rows, tmp_path / "a", **given)
    fit(make_lm(), rows, tmp_path / "b", max_steps=2, **given)
    path = tmp_path / "b" / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    for name in ("stream", "row_counts"):
        del saved[name]
    torch.save(saved, path)
    with pytest.warns(UserWarning, match="does not say which batches"):
        resumed = fit(make_lm(seed=1), make_rows(), tmp_path / "b", **given)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_resuming_plans_no_epoch_that_is_over(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedRows],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"accumulate": 3, "min_learning_rate": 3e-3}
    straight = fit(make_lm(), make_rows(), tmp_path / "a", max_steps=12, **given)
    fit(make_lm(), make_rows(), tmp_path / "b", max_steps=8, **given)
    planned, plan = [], slm.dataset.plan_epoch

    def counted(*args: Any, epoch: int, **options: Any) -> Any:
        planned.append(epoch)
        return plan(*args, epoch=epoch, **options)

    monkeypatch.setattr(slm.dataset, "plan_epoch", counted)
    resumed = fit(make_lm(seed=1), make_rows(), tmp_path / "b", max_steps=12, **given)
    assert planned[0] > 2
    assert planned == list(range(planned[0], planned[-1] + 1))
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_wrong_number_of_rows_in_a_checkpoint_is_noticed(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
) -> None:
    fit(make_lm(), make_rows(), tmp_path)
    path = tmp_path / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    saved["row_counts"][-1] += 1
    torch.save(saved, path)
    with pytest.raises(ValueError, match=r"packed rows in epoch \d+, as the checkpoint says"):
        fit(make_lm(), make_rows(), tmp_path, max_steps=30)


def test_what_training_changes_of_a_model_beside_its_weights_is_undone(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedRows], tmp_path: Path
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
