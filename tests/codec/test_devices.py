from __future__ import annotations

from pathlib import Path

import pytest
import torch

from codec.devices import native_bf16, trained_on, training_precision, usable_device

XEON = "flags\t\t: fpu avx2 avx512f avx512_bf16 amx_tile amx_bf16\n"
EPYC = "flags\t\t: fpu sse4_2 avx avx2 fma\n"
GRAVITON = "Features\t: fp asimd asimddp sve bf16 i8mm\n"


def processor(folder: Path, text: str) -> Path:
    (folder / "cpuinfo").write_text(f"model name\t: of the test\n{text}")
    return folder / "cpuinfo"


@pytest.mark.parametrize(
    ("flags", "native", "precision"),
    [
        (XEON, "amx_bf16", "bf16-mixed"),
        (GRAVITON, "bf16", "bf16-mixed"),
        (EPYC, None, "32-true"),
        ("", None, "32-true"),
    ],
    ids=["xeon", "graviton", "epyc", "unknown"],
)
def test_bfloat16_is_chosen_only_where_the_processor_multiplies_it(
    tmp_path: Path, flags: str, native: str | None, precision: str
) -> None:
    path = processor(tmp_path, flags)
    assert native_bf16(path) == native
    found = training_precision("auto", "cpu", cpuinfo=path)
    assert found.name == precision
    assert "bfloat16" in found.reason


def test_a_precision_that_is_named_stays(tmp_path: Path) -> None:
    path = processor(tmp_path, EPYC)
    assert training_precision("bf16-mixed", "cpu", cpuinfo=path).name == "bf16-mixed"
    path = processor(tmp_path, XEON)
    assert training_precision("32-true", "cpu", cpuinfo=path).name == "32-true"


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_decides_by_its_own_bfloat16(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    name, reason = training_precision("auto", "gpu")
    assert name == ("bf16-mixed" if native else "32-true")
    assert reason.startswith("a GPU")


def test_devices_that_are_here_are_found() -> None:
    assert usable_device("cpu") == torch.device("cpu")
    assert usable_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "meta"])
def test_names_that_are_no_device_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"device '{name}' cannot be used: [^\n]*$"):
        usable_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected a CUDA device, found none$"):
        usable_device(name)


def test_a_training_was_on_the_gpu_that_lightning_chose(monkeypatch):
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        found = [trained_on(name).type for name in ("auto", "gpu", "cpu")]
        assert found == (["cuda", "cuda", "cpu"] if there else ["cpu"] * 3)
