"""Checkpoints of training runs: which are gone on from, and which are refused."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import slm.data.packed_dataset
from codec.runtime.run_lock import InUseError, locked
from slm.data.packed_batch import PackedBatch
from slm.data.packed_dataset import PackedDataset
from slm.model.speech_lm import SpeechLM
from slm.training.fit import fit_speech_lm
from tests.support.builders import SETTINGS, fit, metrics_of


def test_a_checkpoint_that_does_not_fit_is_refused(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
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
    make_rows: Callable[..., PackedDataset],
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


def test_a_checkpoint_of_another_token_layout_or_codec_is_refused(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
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
        with pytest.raises(ValueError, match=f"trained with {name} none"):
            fit(make_lm(), rows, tmp_path, max_steps=9)


def test_a_lost_checkpoint_is_reported_and_the_metrics_stay(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    rows = make_rows()
    fit(make_lm(), rows, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "last.ckpt").unlink()
    with pytest.raises(ValueError, match=r"expected .*last\.ckpt, as .* has 4 steps, got no such"):
        fit(make_lm(), rows, tmp_path, max_steps=6)
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_a_run_killed_while_its_first_checkpoint_is_written_goes_on(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import lightning

    rows = make_rows()
    straight = fit(make_lm(), rows, tmp_path / "a")

    def save(trainer: lightning.Trainer, path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(lightning.Trainer, "save_checkpoint", save)
        with pytest.raises(OSError, match="No space"):
            fit(make_lm(), rows, tmp_path / "b")
    assert len(metrics_of(tmp_path / "b")) == 1
    resumed = fit(make_lm(), rows, tmp_path / "b")
    assert [line["step"] for line in metrics_of(tmp_path / "b")] == [1, 2, 3, 4]
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 1e6}, {"learning_rate": 1e6, "weight_decay": 1e6}]
)
def test_weights_that_are_not_finite_are_never_saved(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    changes: dict[str, float],
) -> None:
    with pytest.raises(ValueError, match=r"expected .*finite"):
        fit(make_lm(), make_rows(), tmp_path, max_steps=6, checkpoint_every=1, **changes)
    if (tmp_path / "last.ckpt").exists():  # of a step whose weights were large, and finite
        saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
        assert all(value.isfinite().all() for value in saved.values())


@pytest.mark.parametrize("factor", [float("inf"), float("nan")])
def test_an_infinite_gradient_of_a_finite_loss_is_not_saved(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    factor: float,
) -> None:
    rows, lm = make_rows(), make_lm()
    fit(lm, rows, tmp_path, max_steps=2)
    before = (tmp_path / "last.ckpt").read_bytes()
    lm = make_lm()
    lm.head.weight.register_hook(lambda gradient: gradient * factor)
    with pytest.raises(ValueError, match=r"finite gradient_norm, .* step 3; the loss is finite"):
        fit(lm, rows, tmp_path, max_steps=6, checkpoint_every=1)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert [line["step"] for line in metrics_of(tmp_path)] == [1, 2]


def test_a_checkpoint_of_weights_that_are_not_finite_is_refused(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    fit(make_lm(), make_rows(), tmp_path)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    saved["state_dict"]["lm.head.weight"][0, 0] = float("nan")
    torch.save(saved, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"expected finite weights, got others in lm\.head"):
        fit(make_lm(), make_rows(), tmp_path, max_steps=6)


def test_two_trainings_in_one_folder_are_refused(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    with locked(tmp_path), pytest.raises(InUseError, match="in use by process"):
        fit(make_lm(), make_rows(), tmp_path)


def test_a_run_cut_off_before_its_first_due_checkpoint_goes_on(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = make_rows()
    straight = fit(make_lm(), rows, tmp_path / "a", checkpoint_every=100)
    read = PackedDataset.batch

    def unreadable(self: PackedDataset, index: int) -> PackedBatch:
        if index == 3:
            raise OSError("cannot be read")
        return read(self, index)

    monkeypatch.setattr(PackedDataset, "batch", unreadable)
    with pytest.raises(OSError, match="cannot be read"):
        fit(make_lm(), rows, tmp_path / "b", checkpoint_every=100)
    monkeypatch.undo()
    assert not [each for each in threading.enumerate() if each.name.startswith("read-ahead")]
    resumed = fit(make_lm(seed=1), rows, tmp_path / "b", checkpoint_every=100)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_another_checkpoint_can_be_gone_on_from_and_must_be_there(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
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
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    rows_changes: dict[str, Any],
    changes: dict[str, Any],
    message: str,
) -> None:
    fit(make_lm(), make_rows(), tmp_path, max_steps=2)
    with pytest.raises(ValueError, match=f"trained on other batches: expected {message}"):
        fit(make_lm(), make_rows(**rows_changes), tmp_path, **changes)


def test_a_checkpoint_without_a_description_of_its_batches_goes_on_with_a_warning(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    rows, given = make_rows(), {"min_learning_rate": 3e-3}
    straight = fit(make_lm(), rows, tmp_path / "a", **given)
    fit(make_lm(), rows, tmp_path / "b", max_steps=2, **given)
    path = tmp_path / "b" / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    for name in ("stream", "row_counts"):
        del saved[name]
    torch.save(saved, path)
    with pytest.warns(UserWarning, match="does not hold the description of its batches"):
        resumed = fit(make_lm(seed=1), make_rows(), tmp_path / "b", **given)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_resuming_plans_no_epoch_that_is_over(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"accumulate": 3, "min_learning_rate": 3e-3}
    straight = fit(make_lm(), make_rows(), tmp_path / "a", max_steps=12, **given)
    fit(make_lm(), make_rows(), tmp_path / "b", max_steps=8, **given)
    planned, plan = [], slm.data.packed_dataset.plan_epoch

    def counted(*args: Any, epoch: int, **options: Any) -> Any:
        planned.append(epoch)
        return plan(*args, epoch=epoch, **options)

    monkeypatch.setattr(slm.data.packed_dataset, "plan_epoch", counted)
    resumed = fit(make_lm(seed=1), make_rows(), tmp_path / "b", max_steps=12, **given)
    assert planned[0] > 2
    assert planned == list(range(planned[0], planned[-1] + 1))
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_wrong_number_of_rows_in_a_checkpoint_is_noticed(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    fit(make_lm(), make_rows(), tmp_path)
    path = tmp_path / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    saved["row_counts"][-1] += 1
    torch.save(saved, path)
    with pytest.raises(ValueError, match=r"packed rows in epoch \d+, as the checkpoint has"):
        fit(make_lm(), make_rows(), tmp_path, max_steps=30)
