"""Folders of published likelihood tests, in miniature."""

import pytest

from eval.likelihood_tests.published import SUITES, SuiteError


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_zerospeech_pairs_by_id_and_voice(tmp_path):
    rows = ["1,aa,v1,npi,1", "1,ab,v1,npi,0", "1,ac,v2,npi,0", "1,ad,v2,npi,1"]
    table = "\n".join(["id,filename,voice,subtype,correct", *rows, ""])
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "gold.csv").write_text(table)
    pairs = SUITES["sblimp"](tmp_path)
    assert [(p.id, p.part, p.pos.name, p.neg.name) for p in pairs] == [
        ("dev/1/v1", "dev/npi", "aa.wav", "ab.wav"),
        ("dev/1/v2", "dev/npi", "ad.wav", "ac.wav"),
    ]
    assert {p.suite for p in SUITES["swuggy"](tmp_path)} == {"swuggy"}


def test_zerospeech_without_a_partner_or_a_column_is_refused(tmp_path):
    with pytest.raises(SuiteError, match=r"gold\.csv"):
        SUITES["swuggy"](tmp_path)
    (tmp_path / "gold.csv").write_text("id,filename,voice,correct\n1,a,v,1\n")
    with pytest.raises(SuiteError, match="one correct and one wrong"):
        SUITES["swuggy"](tmp_path)
    (tmp_path / "gold.csv").write_text("id,filename\n1,a\n")
    with pytest.raises(SuiteError, match="columns"):
        SUITES["swuggy"](tmp_path)


def test_stories_are_matched_by_name(tmp_path):
    make(tmp_path, "7_correct.wav", "7_incorrect.wav", "x/8_correct.wav", "x/8_incorrect.wav")
    pairs = SUITES["topic_storycloze"](tmp_path)
    assert [(p.id, p.part, p.suite) for p in pairs] == [
        ("7", "", "topic_storycloze"),
        ("x/8", "x", "topic_storycloze"),
    ]
    (tmp_path / "7_incorrect.wav").unlink()
    with pytest.raises(SuiteError, match="7_incorrect"):
        SUITES["spoken_storycloze"](tmp_path)


def test_salmon_is_read_in_both_layouts(tmp_path):
    make(tmp_path, "gender/sample_0.wav", "gender/neg_sample_0.wav")
    make(tmp_path, "rir/positive/3.wav", "rir/negative/3.wav")
    pairs = SUITES["salmon"](tmp_path)
    assert [(p.id, p.part, p.neg.relative_to(tmp_path).as_posix()) for p in pairs] == [
        ("gender/sample_0", "gender", "gender/neg_sample_0.wav"),
        ("rir/3", "rir", "rir/negative/3.wav"),
    ]


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_an_empty_folder_is_refused_with_the_layout_expected(tmp_path, suite):
    with pytest.raises(SuiteError, match="expected"):
        SUITES[suite](tmp_path)


def test_hidden_files_are_no_pairs_and_a_table_may_begin_with_a_mark(tmp_path):
    make(tmp_path / "stories", "1_correct.wav", "1_incorrect.wav", "._1_correct.wav")
    assert [pair.pos.name for pair in SUITES["topic_storycloze"](tmp_path / "stories")] == [
        "1_correct.wav"
    ]
    for name in ("dev", "._dev"):
        (tmp_path / "zero" / name).mkdir(parents=True)
        table = "\ufeffid,filename,voice,correct\n1,aa,v1,1\n1,ab,v1,0\n"
        (tmp_path / "zero" / name / "gold.csv").write_text(table, "utf-8")
    assert [pair.id for pair in SUITES["sblimp"](tmp_path / "zero")] == ["dev/1/v1"]


@pytest.mark.parametrize(
    ("suite", "names"),
    [
        ("topic_storycloze", ("1_correct.wav", "1_incorrect.wav", "2_incorrect.wav")),
        ("salmon", ("p/sample_1.wav", "p/neg_sample_1.wav", "p/neg_sample_2.wav")),
        ("salmon", ("q/positive/1.wav", "q/negative/1.wav", "q/negative/2.wav")),
    ],
)
def test_a_wrong_recording_without_its_right_one_is_refused(tmp_path, suite, names):
    make(tmp_path, *names)
    with pytest.raises(SuiteError, match=r"2(_incorrect)?\.wav without its partner"):
        SUITES[suite](tmp_path)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (b"1,a,v,1\n1,b,v\n", "expected 4 values in row 2"),
        (b"1,a,v,1,x\n1,b,v,0\n", "expected"),
        (b"1,a,v,1\n1,b,v,0\n1,c,v,0\n", "got 'c' beside them in row 3"),
        (b"1,\xe9,v,1\n1,b,v,0\n", "gold.csv: expected a table in UTF-8"),
        (b'1,"a,v,1\n1,b,v,0\n', "gold.csv: expected a table"),
    ],
)
def test_a_wrong_row_of_a_table_is_refused_with_its_file(tmp_path, rows, match):
    (tmp_path / "gold.csv").write_bytes(b"id,filename,voice,correct\n" + rows)
    with pytest.raises(SuiteError, match=match):
        SUITES["swuggy"](tmp_path)
