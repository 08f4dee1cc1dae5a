"""Speed, size, arithmetic and memory of codecs at random weights, side by side in one run."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from codec.layers.weight_norm import remove_weight_norm
from codec.model.config import CodecConfig
from codec.model.hh_codec import HHCodec
from codec.provenance import machine, utc_time
from codec.runtime.processes import run_in_process

from .memory import measure_peaks
from .peers import PEERS, SAMPLE_RATE, Subject

# Seconds of audio that parameters and arithmetic are counted on.
COUNT_DURATION = 2.0


def _ours(preset: str) -> Subject:
    """A preset without weight norm; its codebook is cached at the first call, as in use."""
    codec = HHCodec(CodecConfig.preset(preset)).eval()
    remove_weight_norm(codec)
    return Subject(
        codec,
        lambda waveform: codec.encode(waveform)[0],
        lambda codes: codec.decode(codes)[0],
        codec.bitrate,
    )


SYSTEMS: dict[str, Callable[[], Subject]] = {
    **{name: partial(_ours, name) for name in ("hh_24khz", "hh_24khz_bigvgan", "mini")},
    **PEERS,
}

# Systems whose times are divided, and the ratio that is aimed at.
RATIOS = {
    "decode: hh_24khz_bigvgan / hh_24khz": (("hh_24khz_bigvgan", "hh_24khz"), ("decode",), 30.0),
    "encode + decode: mimi / hh_24khz": (("mimi", "hh_24khz"), ("encode", "decode"), 1.5),
}


@dataclass
class Running:
    """A system under measurement.

    Attributes:
        subject: What runs.
        repeats: Passes allowed; a slow system gets fewer.
        seconds: Wall time and processor time of every pass, by direction.
        figures: What was counted, by direction.
    """

    subject: Subject
    repeats: int
    seconds: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: {"encode": [], "decode": []}
    )
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)


def bench(
    names: Sequence[str],
    *,
    duration: float = 10.0,
    repeats: int = 5,
    slow_s: float = 8.0,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure systems in turn, a pass of each per round, so that all meet the same disturbances.

    Args:
        names: Of SYSTEMS.
        duration: Of the audio, s.
        repeats: Rounds; two of a slow system.
        slow_s: Seconds above which a first pass is slow.
        progress: Called with the name of each step.

    Returns:
        `systems` by name, with `encode` and `decode` of each: `real_time_factor` (median over
        the rounds of wall time over duration), its range, `cpu_factor` (the same of processor
        time over all threads, which other work on the machine disturbs less), `parameters` used,
        `gmac_per_s` of audio, `peak_memory_mib` (None where it cannot be measured); `ratios` of
        medians with their bars; `skipped` systems with the reason; the settings, the machine
        and the date.

    Raises:
        ValueError: An unknown name, a duration under a second or no repeats.
    """
    unknown = [name for name in names if name not in SYSTEMS]
    if unknown or not names:
        raise ValueError(f"expected systems of {', '.join(SYSTEMS)}, got {', '.join(unknown)}")
    if not 1.0 <= duration < math.inf or repeats < 1:
        raise ValueError(f"expected a duration of 1 s or more and repeats, got {duration, repeats}")
    waveform = 0.1 * torch.randn(1, round(duration * SAMPLE_RATE))
    running: dict[str, Running] = {}
    skipped: dict[str, str] = {}
    for name in names:
        progress(f"{name}: memory and arithmetic")
        try:
            running[name] = Running(SYSTEMS[name](), repeats)
        except ImportError as error:
            skipped[name] = str(error)
            continue
        _count(running[name], waveform[:, : round(COUNT_DURATION * SAMPLE_RATE)])
        for direction, mebibytes in run_in_process(measure_peaks, name, duration).items():
            running[name].figures[direction]["peak_memory_mib"] = mebibytes
    # Rounds, not one system after another: a disturbance then meets all of them.
    for number in range(repeats):
        for name, system in running.items():
            if number < system.repeats:
                progress(f"{name}: pass {number + 1} of {system.repeats}")
                total = _timed_pass(system, waveform)
                if total > slow_s:
                    system.repeats = min(repeats, 2)
    systems = {name: _summary(system, duration) for name, system in running.items()}
    return {
        "systems": systems,
        "ratios": _ratios(systems),
        "skipped": skipped,
        "duration": duration,
        "machine": machine() | {"threads": torch.get_num_threads(), "torch": torch.__version__},
        "date": utc_time(),
    }


@torch.inference_mode()
def _timed_pass(system: Running, waveform: Tensor) -> float:
    """Encode and decode once, and return the seconds of both."""
    clocks = [_clocks()]
    codes = system.subject.encode(waveform)
    clocks.append(_clocks())
    system.subject.decode(codes)
    clocks.append(_clocks())
    for direction, (start, stop) in zip(system.seconds, pairwise(clocks), strict=True):
        system.seconds[direction].append((stop[0] - start[0], stop[1] - start[1]))
    return clocks[2][0] - clocks[0][0]


def _clocks() -> tuple[float, float]:
    """Wall time and the processor time of this process, s."""
    return time.perf_counter(), time.process_time()


@torch.no_grad()
def _count(system: Running, waveform: Tensor) -> None:
    """Count the parameters that a direction uses, and its arithmetic; also the warm-up."""
    subject = system.subject
    codes = subject.encode(waveform)
    calls = {
        "encode": lambda: subject.encode(waveform),
        "decode": lambda: subject.decode(codes),
    }
    for direction, call in calls.items():
        subject.module.eval()  # clears the caches, so that filling them is counted
        parameters = used_parameters(subject.module, call)
        seconds = waveform.shape[-1] / SAMPLE_RATE
        system.figures[direction] = {
            "parameters": parameters,
            "gmac_per_s": count_macs(call) / seconds / 1e9,
        }


def used_parameters(module: nn.Module, call: Callable[[], Any]) -> int:
    """Count the parameters of the modules inside `module` that a call runs."""
    # modules that a hook has seen run; their parameters are counted once each
    ran: set[nn.Module] = set()
    hooks = [
        each.register_forward_pre_hook(lambda each, _: ran.add(each)) for each in module.modules()
    ]
    try:
        call()
    finally:
        for hook in hooks:
            hook.remove()
    values = {value for each in ran for value in each.parameters(recurse=False)}
    return sum(value.numel() for value in values)


def count_macs(call: Callable[[], Any]) -> float:
    """Count the multiply-adds of a call's convolutions, matrix products, attention and LSTMs.

    Fourier transforms and elementwise work are not counted. The fused LSTM and attention of the
    CPU, which torch's counter does not know, are counted as the matrix products they stand for,
    a mask saving nothing.
    """
    fused = {
        torch.ops.aten.mkldnn_rnn_layer: _lstm_flops,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    }
    counter = FlopCounterMode(display=False, custom_mapping=fused)
    with counter:
        call()
    return counter.get_total_flops() / 2  # a multiply-add is two operations


def _lstm_flops(inputs: Any, from_input: Any, from_hidden: Any, *rest: Any, **named: Any) -> int:
    """Of one direction of one layer; shapes (L, B, C), (4H, C) and (4H, H)."""
    steps = inputs[0] * inputs[1]
    return 2 * steps * (from_input[0] * from_input[1] + from_hidden[0] * from_hidden[1])


def _attention_flops(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    """Of shapes (B, H, S, E), (B, H, N, E) and (B, H, N, E)."""
    return 2 * math.prod(query[:3]) * key[2] * (query[3] + value[3])


def _summary(system: Running, duration: float) -> dict[str, Any]:
    """Figures of one system."""
    parts = {}
    for direction, seconds in system.seconds.items():
        factors = [wall / duration for wall, _ in seconds]
        parts[direction] = {
            "real_time_factor": statistics.median(factors),
            "cpu_factor": statistics.median(cpu / duration for _, cpu in seconds),
            "real_time_factor_range": [min(factors), max(factors)],
            "passes": len(factors),
            **system.figures[direction],
        }
    total = sum(value.numel() for value in system.subject.module.parameters())
    return {"bitrate": system.subject.bitrate, "parameters": total, **parts}


def _ratios(systems: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Medians of computing time over one another, for the pairs that were measured."""
    ratios = {}
    for title, ((slow, fast), directions, bar) in RATIOS.items():
        if slow in systems and fast in systems:
            wall, cpu = (
                [sum(systems[name][each][figure] for each in directions) for name in (slow, fast)]
                for figure in ("real_time_factor", "cpu_factor")
            )
            ratios[title] = {
                "ratio": wall[0] / wall[1],
                "cpu_ratio": cpu[0] / cpu[1],
                "bar": bar,
                "reached": wall[0] >= bar * wall[1],
            }
    return ratios
