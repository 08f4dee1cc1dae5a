"""Third-party packages that only some modules may import."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sources import OURS, imports_of, sources

# Third-party packages that only the named modules may import; the rest of the code stays free of
# them. A pattern is matched against the path from the root.
ONLY_IN = {
    "omegaconf": (
        "recipes/*.py",
        "recipes/*/*.py",
        "codec/model/config.py",
        "slm/model/config.py",
    ),
    # imported with stand-ins for what they need of others
    "vocos": ("codec/import_shims.py",),
    "bigvgan": ("codec/import_shims.py",),
    "vector_quantize_pytorch": (),
    "x_transformers": ("slm/model/transformer.py", "slm/bench/contestants.py"),
    "sentencepiece": ("slm/text/sentencepiece_tokenizer.py",),
    "inflect": (),
    "jiwer": ("eval/metrics/wer.py",),
    "lightning": (
        "codec/runtime/run_trainer.py",
        "codec/training/module.py",
        "codec/training/objective.py",
        "codec/training/data.py",
        "codec/training/fit.py",
        "codec/training/callbacks.py",
        "slm/training/*.py",
        "slm/data/packed_dataset.py",
        "recipes/*.py",
        "recipes/*/*.py",
    ),
    "peft": (),
    "espeakng_loader": ("recipes/corpora/espeak.py",),
    "pystoi": (
        "eval/metrics/stoi.py",
        "codec/training/validation.py",
        "benchmarks/cases/metrics.py",
    ),
    "ray": ("recipes/encoding/cluster.py",),
    "fsspec": ("slm/storage/remote_folder.py",),
    "lhotse": ("recipes/corpora/import_lhotse.py",),
    "fastapi": ("slm/serving/*.py",),
    "uvicorn": ("slm/serving/server.py",),
    "gradio": ("recipes/app/fields.py", "recipes/app/page.py"),
    "torchaudio": (),
    "wandb": ("codec/run_logs.py",),
    "encodec": (),
    "onnx": ("codec/export/onnx_files.py", "codec/export/graph_inputs.py"),
}


def wrong_packages(path: str, source: str) -> list[str]:
    """What a module imports that only others may, in words."""
    tops = {name.split(".")[0] for name in imports_of(path, source)}
    return [
        f"{path}: only {', '.join(ONLY_IN[top]) or 'no module'} may import {top}"
        for top in sorted(tops & set(ONLY_IN))
        if not any(Path(path).match(each) for each in ONLY_IN[top])
    ]


@pytest.mark.parametrize("package", OURS)
def test_packages_are_imported_where_the_table_says(package: str) -> None:
    found = [wrong_packages(path, source) for path, source in sources(package).items()]
    assert [wrong for each in found for wrong in each] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("slm/training/module.py", "import sentencepiece as spm"),
        ("codec/model/mel.py", "from vocos.pretrained import Vocos"),
    ],
)
def test_a_package_in_the_wrong_place_is_found(path: str, source: str) -> None:
    assert len(wrong_packages(path, source)) == 1
