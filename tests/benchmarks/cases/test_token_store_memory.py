from pathlib import Path

from benchmarks.cases.token_store_memory import STAGES, measure, write_store
from slm.data.shards import check_store
from slm.data.token_store import TokenStore


def test_what_is_measured_is_a_whole_store_with_as_many_rows_as_asked(tmp_path: Path) -> None:
    write_store(tmp_path, 250, codes=20, words=3)
    check_store(tmp_path)
    store = TokenStore(tmp_path)
    assert len(store) == 250
    assert len({row["speaker"] for row in store.rows}) == 3
    assert {len(row["text"].split()) for row in store.rows} == {3}
    found = measure(tmp_path)
    assert set(found) == {f"{name}_{unit}" for name in STAGES for unit in UNITS} | {"peak_bytes"}
    assert all(found[f"{name}_seconds"] > 0 for name in STAGES)


UNITS = ("seconds", "bytes_a_row")
