import shutil
from pathlib import Path

import numpy as np
import pytest

from slm.data.alignment import Spoken
from slm.data.provenance import (
    alignments_digest,
    check_stream,
    describe_rows,
    describe_stream,
    store_digest,
)
from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.model.config import DocumentSettings, TrainingSettings


def write(folder: Path, last: int = 3, text: str = "a") -> TokenStore:
    writer = TokenStoreWriter(
        folder, codec_fingerprint="codec", codebook_size=64, frame_rate=23.4375, shard_codes=4
    )
    for item, codes in enumerate(([1, 2, 3, 4], [5, 6, last])):
        writer.add(np.array(codes), {"id": f"u{item}", "text": text})
    writer.close()
    return TokenStore(folder)


def stream(store: TokenStore, accumulate: int = 1, **documents: float) -> dict:
    settings = DocumentSettings(**documents)  # type: ignore[arg-type]
    rows = describe_rows([store], settings, alignments="", seq_len=8, batch_size=2, seed=0)
    return describe_stream(rows, TrainingSettings(100, accumulate=accumulate))


def test_a_store_has_its_name_wherever_it_lies_and_another_with_other_codes_or_texts(
    tmp_path: Path,
) -> None:
    name = store_digest(write(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere")
    assert store_digest(TokenStore(tmp_path / "elsewhere")) == name
    assert len({name, *(store_digest(each) for each in others(tmp_path))}) == 3


def others(folder: Path) -> list[TokenStore]:
    return [write(folder / "b", last=4), write(folder / "c", text="b")]


def test_alignments_have_a_name_by_what_they_say() -> None:
    units, counts = np.array([3, 4]), np.array([1, 2])
    name = alignments_digest({"u": Spoken(units, counts), "v": Spoken(units, counts)})
    assert alignments_digest({"v": Spoken(units, counts), "u": Spoken(units, counts)}) == name
    assert alignments_digest({"u": Spoken(units, counts), "v": Spoken(units, units)}) != name
    assert alignments_digest(None) != alignments_digest({})


def test_every_difference_is_named_with_what_was_expected_and_what_came(tmp_path: Path) -> None:
    store = write(tmp_path / "a")
    saved = stream(store)
    check_stream(tmp_path, saved, stream(store))
    with pytest.raises(ValueError, match="other batches") as error:
        check_stream(tmp_path, saved, stream(store, accumulate=4, prompt_probability=0.25))
    assert "expected documents.prompt_probability 0.5, got 0.25; accumulate 1, got 4" in str(
        error.value
    )


def test_a_setting_that_came_later_was_its_default_before(tmp_path: Path) -> None:
    store = write(tmp_path / "a")
    saved = {k: v for k, v in stream(store).items() if k != "documents.text_loss_weight"}
    check_stream(tmp_path, saved, stream(store))
    with pytest.raises(ValueError, match=r"text_loss_weight 0\.0, got 0\.5"):
        check_stream(tmp_path, saved, stream(store, text_loss_weight=0.5))


def test_a_checkpoint_of_an_earlier_version_is_taken_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="does not say which batches"):
        check_stream(tmp_path, None, stream(write(tmp_path / "a")))
