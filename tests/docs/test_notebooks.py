"""Notebooks run from beginning to end, with shipped models and generated sounds alone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


NEEDED = ("nbformat", "nbclient", "ipykernel", "matplotlib")
pytestmark = [
    pytest.mark.skipif(not all(map(find_spec, NEEDED)), reason=f"needs {', '.join(NEEDED)}"),
    # jupyter_client and zmq warn of event loops and of folders to come
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A kernel for all notebooks in turn: a new one would load torch and Lightning once more."""
    import nbclient
    import nbformat

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "agg")
        patch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))
        patch.setenv("PYTHONPATH", str(ROOT))
        empty = nbformat.v4.new_notebook()
        # Beside other work a kernel may be long in coming.
        client = nbclient.NotebookClient(
            empty, timeout=600, startup_timeout=600, kernel_name="python3"
        )
        with client.setup_kernel():
            yield client


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, kernel: Any) -> None:
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    # Nothing that another notebook defined or imported is there, by name.
    fresh = nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {tmp_path}")
    notebook.cells.insert(0, fresh)
    client = nbclient.NotebookClient(notebook, timeout=600, km=kernel.km)
    client.kc = kernel.kc
    client.execute()
    shown = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type in ("display_data", "execute_result")
    ]
    assert any("audio" in output.data.get("text/html", "") for output in shown)


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_its_outputs(path: Path) -> None:
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
