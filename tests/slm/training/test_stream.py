from pathlib import Path

import pytest

from slm.data.config import DocumentSettings
from slm.data.provenance import describe_rows
from slm.data.token_store import TokenStore
from slm.training.checkpoint import check_stream, describe_stream
from slm.training.config import TrainingSettings


def stream(store: TokenStore, accumulate: int = 1, **documents: float) -> dict:
    settings = DocumentSettings(**documents)  # type: ignore[arg-type]
    rows = describe_rows([store], settings, alignments="", seq_len=8, batch_size=2, seed=0)
    return describe_stream(rows, TrainingSettings(100, accumulate=accumulate))


def test_every_difference_is_named_with_what_was_expected_and_what_came(
    store: TokenStore, tmp_path: Path
) -> None:
    saved = stream(store)
    check_stream(tmp_path, saved, stream(store))
    with pytest.raises(ValueError, match="other batches") as error:
        check_stream(tmp_path, saved, stream(store, accumulate=4, prompt_probability=0.25))
    assert "expected documents.prompt_probability 0.5, got 0.25; accumulate 1, got 4" in str(
        error.value
    )


def test_a_setting_that_came_later_was_its_default_before(
    store: TokenStore, tmp_path: Path
) -> None:
    saved = {k: v for k, v in stream(store).items() if k != "documents.text_loss_weight"}
    check_stream(tmp_path, saved, stream(store))
    with pytest.raises(ValueError, match=r"text_loss_weight 0\.0, got 0\.5"):
        check_stream(tmp_path, saved, stream(store, text_loss_weight=0.5))


def test_a_checkpoint_of_an_earlier_version_is_taken_with_a_warning(
    store: TokenStore, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="does not hold the description of its batches"):
        check_stream(tmp_path, None, stream(store))
