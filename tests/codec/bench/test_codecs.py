import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from codec.bench.codecs import (
    SYSTEMS,
    Running,
    bench,
    count_macs,
    used_parameters,
)
from codec.bench.peers import Subject
from codec.cli import bench as bench_command
from codec.cli.main import main


class Halves(nn.Module):
    """A codec of two linear maps: 12 and 24 parameters, 3 and 4 samples a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Linear(4, 3, bias=False)
        self.up = nn.Linear(3, 8, bias=False)

    def subject(self) -> Subject:
        return Subject(self, lambda waveform: self.down(waveform.view(-1, 4)), self.up, 100.0)


@pytest.fixture
def no_probe(monkeypatch):
    """The bench without its subprocesses."""
    probe = {"encode": 10.0, "decode": 20.0}
    monkeypatch.setattr("codec.bench.codecs.run_in_process", lambda *call: dict(probe))
    monkeypatch.setattr("codec.bench.codecs.SYSTEMS", {"toy": lambda: Halves().subject()})


def test_multiply_adds_are_those_of_the_formulas():
    """By hand: a convolution, a linear map, attention, and an LSTM that torch does not count."""
    x = torch.randn(1, 6, 10)
    conv, linear = nn.Conv1d(6, 4, 3, padding=1, groups=2), nn.Linear(10, 7)
    with torch.no_grad():
        assert count_macs(lambda: conv(x)) == 10 * 4 * 3 * 3
        assert count_macs(lambda: linear(x)) == 6 * 10 * 7
        lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        layers = 20 * (6 + 5) + 20 * (10 + 5)
        assert count_macs(lambda: lstm(x.transpose(1, 2))) == 10 * 2 * layers
        heads = torch.randn(1, 1, 9, 16)
        attend = nn.functional.scaled_dot_product_attention
        assert count_macs(lambda: attend(heads, heads, heads)) == 2 * 9 * 9 * 16


def test_only_the_parameters_that_a_direction_runs_are_counted():
    codec = Halves()
    assert used_parameters(codec, lambda: codec.down(torch.zeros(1, 4))) == 12
    assert used_parameters(codec, lambda: codec.up(torch.zeros(1, 3))) == 24
    assert not any(module._forward_pre_hooks for module in codec.modules())


@pytest.mark.usefixtures("no_probe")
def test_the_report_holds_every_figure_of_both_directions():
    report = bench(["toy"], duration=1.0, repeats=3)
    encode, decode = (report["systems"]["toy"][each] for each in ("encode", "decode"))
    assert (encode["parameters"], decode["parameters"]) == (12, 24)
    assert encode["gmac_per_s"] == pytest.approx(6000 * 12 / 1e9)
    assert decode["gmac_per_s"] == pytest.approx(6000 * 24 / 1e9)
    assert (encode["peak_memory_mib"], decode["peak_memory_mib"]) == (10.0, 20.0)
    low, high = decode["real_time_factor_range"]
    assert 0 < low <= decode["real_time_factor"] <= high
    assert encode["passes"] == 3
    assert encode["cpu_factor"] > 0
    assert report["systems"]["toy"]["parameters"] == 36
    assert json.loads(json.dumps(report)) == report
    text = bench_command.as_text(report)
    assert "toy decode" in text
    assert report["date"] in text


@pytest.mark.usefixtures("no_probe")
def test_slow_systems_get_two_passes():
    report = bench(["toy"], duration=1.0, repeats=5, slow_s=0.0)
    assert report["systems"]["toy"]["encode"]["passes"] == 2


def test_a_system_whose_package_is_missing_is_skipped_with_the_reason(monkeypatch):
    def missing() -> Subject:
        raise ImportError("the package nothing is not installed")

    monkeypatch.setitem(SYSTEMS, "mimi", missing)
    report = bench(["mimi"], repeats=1)
    assert report["skipped"] == {"mimi": "the package nothing is not installed"}
    assert "skipped: mimi: the package nothing" in bench_command.as_text(report)


def test_ratios_are_of_medians_and_carry_their_bar():
    from codec.bench.codecs import _ratios, _summary

    def system(encode: list[float], decode: list[float]) -> dict:
        seconds = {
            name: [(each, 2 * each) for each in values]
            for name, values in (("encode", encode), ("decode", decode))
        }
        running = Running(Halves().subject(), 3, seconds, {"encode": {}, "decode": {}})
        return _summary(running, 10.0)

    ratios = _ratios(
        {
            "hh_24khz": system([1.0, 1.0, 9.0], [2.0, 2.0, 2.0]),
            "hh_24khz_bigvgan": system([1.0], [50.0]),
            "mimi": system([3.0], [3.0]),
        }
    )
    vocoders, peers = ratios.values()
    both = {"ratio": pytest.approx(25.0), "cpu_ratio": pytest.approx(25.0)}
    assert vocoders == {**both, "bar": 30.0, "reached": False}
    both = {"ratio": pytest.approx(2.0), "cpu_ratio": pytest.approx(2.0)}
    assert peers == {**both, "bar": 1.5, "reached": True}


def test_an_unknown_system_is_refused_before_any_work(capsys):
    assert main(["bench", "--systems", "hh_24khz,nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_a_list_of_systems_without_a_name_is_a_wrong_call(capsys):
    with pytest.raises(SystemExit) as wrong:
        main(["bench", "--systems", ","])
    assert wrong.value.code == 2
    assert "expected names, parted by commas, got ','" in capsys.readouterr().err


@pytest.mark.parametrize("duration", [0.1, float("nan"), float("inf")])
def test_a_bench_of_no_duration_is_refused(duration):
    with pytest.raises(ValueError, match="expected a duration of 1 s or more"):
        bench(["mini"], duration=duration)


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own(capsys):
    """mini holds 10.4 M parameters, 40 MiB, and little more for a second of audio."""
    assert main(["bench", "--systems", "mini", "--duration", "1", "--repeats", "1", "--json"]) == 0
    mini = json.loads(capsys.readouterr().out)["systems"]["mini"]
    assert 40 < mini["encode"]["peak_memory_mib"] < 400
    assert mini["encode"]["parameters"] + mini["decode"]["parameters"] > 10_000_000


def test_the_peak_follows_what_is_allocated() -> None:
    # In a process of its own: here, what other tests left may be returned in between.
    lines = [
        "from codec.bench.memory import reset_peak, resident_mib",
        "reset_peak()",
        "before = resident_mib('VmRSS')",
        "held = b'x' * (64 << 20)",
        "print(before, resident_mib('VmHWM'))",
    ]
    words = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    before, peak = map(float, done.stdout.split())
    assert peak >= before + 0.75 * 64
