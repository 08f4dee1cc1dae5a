"""Import shims."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from codec.import_shims import import_without_torchaudio


@pytest.fixture
def greedy(monkeypatch, tmp_path):
    (tmp_path / "greedy_package.py").write_text(
        "import torchaudio\nfrom torchaudio.transforms import MFCC\nprint('hello')\nVALUE = 3\n"
    )
    (tmp_path / "broken_package.py").write_text("import torchaudio\nimport no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("greedy_package", None)


@pytest.mark.usefixtures("greedy")
def test_stand_ins_answer_once_and_leave_no_trace(capsys):
    before = importlib.util.find_spec("torchaudio")
    assert import_without_torchaudio("greedy_package").VALUE == 3
    assert capsys.readouterr().out == ""
    with pytest.raises(ImportError, match="no_such_module"):
        import_without_torchaudio("broken_package")
    assert "torchaudio" not in sys.modules
    assert importlib.util.find_spec("torchaudio") == before
