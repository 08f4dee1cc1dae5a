import pytest

from codec.files import whole_file


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as partial:
        partial.write_text("one")
        assert not path.exists()
        assert partial.suffix == ".txt"
    assert path.read_text() == "one"
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted():
        with whole_file(path) as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_names_may_be_as_long_as_the_disk_allows(tmp_path):
    """The place to write to was once named after the file, and so longer than a name may be."""
    path = tmp_path / ("ü" * 120 + ".wav")
    with whole_file(path) as partial:
        partial.write_text("x")
    assert path.is_file()
