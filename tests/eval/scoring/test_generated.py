"""Lists of generated speech, generation records, and figures of what was heard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eval.scoring.generated import (
    ManifestError,
    read_generation,
    read_records,
    recordings_as_estimates,
    text_figures,
    train_word_model,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spoken").mkdir()
    (tmp_path / "spoken" / "u1.flac").write_bytes(b"")
    return tmp_path


def test_meta_lst_has_four_or_five_columns(folder: Path) -> None:
    meta = folder / "meta.lst"
    meta.write_text("u1|who|p/1.wav|Hello there.|r/1.wav\nu2.wav|who|p/2.wav|Bye.\n\n")
    first, second = read_generation(meta, folder / "spoken")
    assert (first.id, first.text, first.prompt) == ("u1", "Hello there.", folder / "p/1.wav")
    assert (first.reference, first.estimate) == (folder / "r/1.wav", folder / "spoken/u1.flac")
    # A file that is not there is named, so that its scores fail.
    assert (second.id, second.reference) == ("u2", None)
    assert second.estimate == folder / "spoken/u2.wav"
    assert [pair.id for pair in recordings_as_estimates([first, second])] == ["u1"]
    assert recordings_as_estimates([first])[0].estimate == first.reference


def test_json_lines_hold_the_same(folder: Path) -> None:
    rows = [{"id": "u1", "text": "hi", "prompt": "p.wav", "speaker": "ann"}, {"id": "u2"}]
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = read_generation(path, folder / "spoken")
    assert (first.prompt, first.speaker, first.reference) == (folder / "p.wav", "ann", None)
    assert (second.text, second.prompt) == ("", None)


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("meta.lst", "u1|a|b\n", r"meta\.lst:1: expected utt\|"),
        ("meta.lst", "u1|a|b|c\nu1|a|b|c\n", "once"),
        ("meta.lst", "\n", "at least one utterance"),
        ("m.jsonl", "{}\n", "'id'"),
        ("m.jsonl", '{"id": "a", "text": 3}\n', "expected strings, got text 3"),
        ("m.jsonl", "x\n", r"m\.jsonl:1: not valid JSON"),
    ],
)
def test_a_wrong_list_names_the_line(folder: Path, name: str, text: str, match: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ManifestError, match=match):
        read_generation(folder / name, folder / "spoken")


def test_missing_lists_and_folders_are_refused(folder: Path) -> None:
    with pytest.raises(ManifestError, match="expected a meta"):
        read_generation(folder / "none.lst", folder / "spoken")
    (folder / "m.lst").write_text("u1|a|b|c\n")
    with pytest.raises(ValueError, match="expected a folder"):
        read_generation(folder / "m.lst", folder / "none")


def test_records_are_found_beside_the_files(folder: Path) -> None:
    assert read_records(None, folder / "spoken", ["u1"]) == {}
    rows = [{"id": "u1", "truncated": True, "codes": [1, 2], "frame_rate": 20.0}, {"id": "u2"}]
    path = folder / "spoken" / "generation.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = read_records(None, folder / "spoken", ["u1"])
    assert list(records) == ["u1"]
    assert (records["u1"].truncated, records["u1"].frame_rate) == (True, 20.0)
    np.testing.assert_array_equal(records["u1"].codes, [1, 2])
    path.write_text('{"id": "u1", "codes": [1]}\n')
    with pytest.raises(ManifestError, match="frame_rate"):
        read_records(path, folder, ["u1"])
    with pytest.raises(ManifestError, match="generation record"):
        read_records(folder / "none.jsonl", folder, ["u1"])


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({"codes": [1], "frame_rate": "25"}, "a frame_rate > 0 beside codes, got '25'"),
        ({"codes": [1], "frame_rate": float("inf")}, "a frame_rate > 0"),
        ({"codes": [1.7], "frame_rate": 25}, "codes >= 0"),
        ({"codes": [-1], "frame_rate": 25}, "codes >= 0"),
        ({"codes": [1 << 63], "frame_rate": 25}, "codes >= 0"),
        ({"codes": [[1, 2], [3]], "frame_rate": 25}, "codes >= 0"),
        ({"codes": "12", "frame_rate": 25}, "codes >= 0"),
        ({"truncated": "false"}, "true or false as truncated"),
    ],
)
def test_a_record_of_another_type_is_refused(
    folder: Path, row: dict[str, object], match: str
) -> None:
    path = folder / "generation.jsonl"
    path.write_text(json.dumps({"id": "u1", **row}) + "\n")
    with pytest.raises(ManifestError, match=f":1: expected .*{match}"):
        read_records(path, folder, ["u1"])


def test_a_record_whose_link_leads_nowhere_is_an_error(folder: Path) -> None:
    (folder / "spoken" / "generation.jsonl").symlink_to(folder / "gone.jsonl")
    with pytest.raises(FileNotFoundError, match=r"generation\.jsonl"):
        read_records(None, folder / "spoken", ["u1"])


def test_an_utterance_stands_once_in_either_form_of_its_accents(folder: Path) -> None:
    (folder / "m.lst").write_text("caf\u00e9|||x\ncafe\u0301|||y\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"m\.lst:2: expected .* once"):
        read_generation(folder / "m.lst", folder / "spoken")


def test_perplexity_stands_beside_diversity() -> None:
    model = train_word_model(["the cat sat on the mat", "the cat sat on the hat"] * 3)
    dull = text_figures(["the cat sat", "the cat sat"], model)
    odd = text_figures(["mat the on", "sat hat cat"], model)
    assert dull["perplexity"] < odd["perplexity"]
    assert dull["self_bleu_2"] == 1.0
    assert odd["self_bleu_2"] == 0.0
    assert dull["distinct_2"] < odd["distinct_2"]


def test_clips_without_words_and_unknown_words_are_counted() -> None:
    model = train_word_model(["a b a b", "a b"])
    figures = text_figures(["", "a zebra"], model)
    assert (figures["empty"], figures["unknown_words"]) == (1, 0.5)
    assert "perplexity" not in text_figures([""], model)
    assert "perplexity" not in text_figures(["a"], None)


def test_a_record_of_other_utterances_is_refused_where_it_is_named(folder: Path) -> None:
    path = folder / "spoken" / "generation.jsonl"
    path.write_text('{"id": "0001", "truncated": true}\n')
    with pytest.raises(ManifestError, match=r"such as 'u1', got 1 of others, such as '0001'"):
        read_records(path, folder, ["u1"])
    # What lies beside the files by chance is no record of them.
    assert read_records(None, folder / "spoken", ["u1"]) == {}


def test_the_last_record_counts_without_an_end_of_its_line(folder: Path) -> None:
    path = folder / "generation.jsonl"
    path.write_text('{"id": "u0", "truncated": true}\n{"id": "u1", "truncated": true}')
    assert read_records(path, folder, ["u0", "u1"]).keys() == {"u0", "u1"}
