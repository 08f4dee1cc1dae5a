from collections.abc import Callable
from pathlib import Path

import pytest

from slm.data.packed_dataset import PackedDataset
from slm.training.checkpoint import check_stream, describe_stream
from slm.training.config import TrainingSettings


def stream(dataset: PackedDataset, accumulate: int = 1) -> dict:
    return describe_stream(dataset.describe(), TrainingSettings(100, accumulate=accumulate))


def test_every_difference_is_named_with_what_was_expected_and_what_came(
    make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    saved = stream(make_rows())
    check_stream(tmp_path, saved, stream(make_rows()))
    with pytest.raises(ValueError, match="other batches") as error:
        check_stream(tmp_path, saved, stream(make_rows(prompt_probability=0.25), accumulate=4))
    assert "expected documents.prompt_probability 0.5, got 0.25; accumulate 1, got 4" in str(
        error.value
    )


def test_a_setting_that_came_later_was_its_default_before(
    make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    now = stream(make_rows())
    saved = {key: value for key, value in now.items() if key != "documents.text_loss_weight"}
    check_stream(tmp_path, saved, now)
    with pytest.raises(ValueError, match=r"text_loss_weight 0\.0, got 0\.5"):
        check_stream(tmp_path, saved, stream(make_rows(text_loss_weight=0.5)))


def test_a_checkpoint_of_an_earlier_version_is_taken_with_a_warning(
    make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="does not hold the description of its batches"):
        check_stream(tmp_path, None, stream(make_rows()))
