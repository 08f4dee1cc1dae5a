import itertools
from pathlib import Path

import numpy as np
import pytest

from slm.data.alignment import (
    MAX_DURATION,
    Alignment,
    Unit,
    align_codes,
    aligned_units,
    cut_near,
    read_alignments,
    rest_after,
    write_alignments,
)
from slm.text.phone_tokenizer import PAUSE_ID, word_units

CAT = ("cat", [("K", 0.1, 0.2), ("AE", 0.2, 0.3), ("T", 0.3, 0.4)])
SAT = ("sat", [("S", 0.4, 0.5), ("AE", 0.5, 0.6), ("T", 0.6, 0.7)])


def test_units_lie_end_to_end_from_start_to_end() -> None:
    units = aligned_units("Cat sat.", [CAT, SAT], 1.0)
    assert (units[0].start, units[-1].end) == (0.0, 1.0)
    assert all(a.end == b.start for a, b in itertools.pairwise(units))
    phones = [*word_units(["K", "AE", "T"]), *word_units(["S", "AE", "T"])]
    assert [unit.unit for unit in units] == [PAUSE_ID, *phones, PAUSE_ID]


def test_a_mark_that_the_speaker_passes_over_is_a_pause_of_no_length() -> None:
    units = aligned_units("Cat, sat.", [CAT, SAT], 1.0)
    assert Unit(PAUSE_ID, 0.4, 0.4) in units


def test_a_gap_without_a_mark_is_a_pause() -> None:
    later = ("sat", [(phone, start + 0.1, end + 0.1) for phone, start, end in SAT[1]])
    units = aligned_units("Cat sat", [CAT, later], 1.0)
    assert Unit(PAUSE_ID, 0.4, 0.5) in units


def test_other_words_than_those_of_the_text_are_refused() -> None:
    with pytest.raises(ValueError, match="the words"):
        aligned_units("Cat sat", [CAT], 1.0)
    with pytest.raises(ValueError, match="times that never decrease"):
        aligned_units("Sat cat", [SAT, CAT], 1.0)


def test_a_code_belongs_to_the_unit_in_which_its_middle_lies() -> None:
    """At 10 codes a second the middles lie at 0.05, 0.15, ..."""
    units = [Unit(0, 0.0, 0.14), Unit(5, 0.14, 0.16), Unit(6, 0.16, 0.24), Unit(0, 0.24, 0.5)]
    said = align_codes(units, 5, 10.0)
    assert said.counts.tolist() == [1, 1, 0, 3]
    assert said.units.tolist() == [0, 5, 6, 0]


def test_counts_sum_up_to_the_codes_whatever_the_times() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        ends = np.sort(generator.random(8))
        starts = np.concatenate([[0.0], ends[:-1]])
        units = [Unit(1, float(a), float(b)) for a, b in zip(starts, ends, strict=True)]
        num_codes = int(generator.integers(1, 40))
        said = align_codes(units, num_codes, 23.4375)
        assert said.counts.sum() == num_codes
        assert said.counts.min() >= 0


def test_a_clip_that_was_cut_at_its_start_has_the_same_units_earlier() -> None:
    units = [Unit(0, 0.0, 0.2), Unit(5, 0.2, 0.4), Unit(0, 0.4, 0.6)]
    assert align_codes(units, 6, 10.0).counts.tolist() == [2, 2, 2]
    assert align_codes(units, 5, 10.0, shift=0.1).counts.tolist() == [1, 2, 2]
    assert align_codes(units, 4, 10.0, shift=0.26).counts.tolist() == [0, 1, 3]


def test_a_long_pause_becomes_several() -> None:
    said = align_codes([Unit(0, 0.0, 10.0), Unit(5, 10.0, 10.2)], 102, 10.0)
    assert said.units.tolist() == [0, 0, 0, 0, 5]
    assert said.counts.tolist() == [MAX_DURATION] * 3 + [4, 2]
    with pytest.raises(ValueError, match="at least one unit"):
        align_codes([], 3, 10.0)


def test_alignments_are_read_as_they_were_written(tmp_path: Path) -> None:
    units = aligned_units("cat sat", [CAT, SAT], 1.0)
    path = tmp_path / "train.alignment.jsonl"
    write_alignments(path, [("one", units), ("two", units[:2])])
    read = read_alignments(path)
    assert read == {"one": units, "two": units[:2]}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_file_that_holds_no_alignments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="alignments at"):
        read_alignments(tmp_path / "none.jsonl")
    (tmp_path / "other.jsonl").write_text('{"id": "one"}\n')
    with pytest.raises(ValueError, match="alignments at"):
        read_alignments(tmp_path / "other.jsonl")


def test_a_cut_lies_near_the_wanted_place_and_leaves_a_phone_on_both_sides() -> None:
    said = Alignment(np.array([0, 45, 3, 50, 2, 0]), np.array([4, 3, 3, 0, 5, 6]))
    assert cut_near(said, 9, 5, 12) == 10  # of a word, though a phone is nearer
    assert cut_near(said, 6, 5, 9) == 7
    assert cut_near(said, 15, 11, 20) is None
    assert rest_after(said, 10).units.tolist() == [0, 50, 2, 0]
    assert rest_after(said, 10).counts.tolist() == [0, 0, 5, 6]
    assert cut_near(Alignment(np.array([0]), np.array([9])), 4, 1, 8) is None


def test_a_rest_that_a_pause_opens_stays_as_it_is() -> None:
    said = Alignment(np.array([0, 45, 0, 50, 0]), np.array([4, 6, 3, 5, 2]))
    assert cut_near(said, 9, 5, 12) == 10
    rest = rest_after(said, 10)
    assert (rest.units.tolist(), rest.counts.tolist()) == ([0, 50, 0], [3, 5, 2])
