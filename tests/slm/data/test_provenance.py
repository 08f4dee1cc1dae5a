import shutil
from pathlib import Path

import numpy as np

from slm.data.alignment import Alignment
from slm.data.provenance import alignments_digest, store_digest
from slm.data.token_store import TokenStore, TokenStoreWriter


def write(folder: Path, last: int = 3, text: str = "a") -> TokenStore:
    writer = TokenStoreWriter(
        folder, codec_fingerprint="codec", codebook_size=64, frame_rate=23.4375, shard_codes=4
    )
    for item, codes in enumerate(([1, 2, 3, 4], [5, 6, last])):
        writer.add(np.array(codes), {"id": f"u{item}", "text": text})
    writer.close()
    return TokenStore(folder)


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
    name = alignments_digest({"u": Alignment(units, counts), "v": Alignment(units, counts)})
    assert alignments_digest({"v": Alignment(units, counts), "u": Alignment(units, counts)}) == name
    assert alignments_digest({"u": Alignment(units, counts), "v": Alignment(units, units)}) != name
    assert alignments_digest(None) != alignments_digest({})
