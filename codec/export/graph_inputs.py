"""Inputs of exported graphs: an encoder that takes waveforms, and inputs by name, in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from codec.model.whisper_encoder import INPUT_RATE, MARGIN, MAX_STATES

# Kind of a node, its inputs and its output.
Step = tuple[str, list[str], str]

CORE = MAX_STATES - 2 * MARGIN  # states that are kept of a window, more at the ends
MOST_STATES = 2 * CORE  # of two windows, which is how many a graph has


def rename_input(model: Any, old: str, new: str) -> None:
    """Give an input another name."""
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new
    for each in model.graph.input:
        if each.name == old:
            each.name = new


def take_waveforms(model: Any, hop_length: int, sample_rate: int) -> None:
    """Replace an encoder's inputs, those of `EncoderGraph`, by waveforms (B, T) of any length.

    The samples are filled up with zeros to whole codes.

    Args:
        model: An ONNX model.
        hop_length: Samples a code.
        sample_rate: Hz.
    """
    from onnx import TensorProto, helper

    blocks, lengths, *places = (each.name for each in model.graph.input)
    _add_constants(
        model,
        {
            "in_first": [0], "in_second": [1], "in_hop": [hop_length], "in_zeros": [0, 0, 0],
            "in_block_shape": [0, -1, hop_length], "in_one": [1],
        },
    )  # fmt: skip
    steps: list[Step] = [
        ("Shape", ["waveform"], "in_shape"),
        ("Gather", ["in_shape", "in_first"], "in_rows"),
        ("Gather", ["in_shape", "in_second"], "in_samples"),
        ("Neg", ["in_samples"], "in_negative"),
        ("Mod", ["in_negative", "in_hop"], "in_missing"),
        ("Concat", ["in_zeros", "in_missing"], "in_pads"),
        ("Pad", ["waveform", "in_pads"], "in_padded"),
        ("Reshape", ["in_padded", "in_block_shape"], blocks),
        ("Concat", ["in_rows", "in_one"], "in_lengths_shape"),
        ("Expand", ["in_samples", "in_lengths_shape"], lengths),
    ]
    if places:
        steps += _state_steps(model, places, 2 * sample_rate // INPUT_RATE)
    attributes: dict[str, dict[str, Any]] = {"Concat": {"axis": 0}}
    nodes = [
        helper.make_node(kind, inputs, [output], **attributes.get(kind, {}))
        for kind, inputs, output in steps
    ]
    nodes += list(model.graph.node)
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend(nodes)
    shape = ["batch", "samples"]
    model.graph.input.append(helper.make_tensor_value_info("waveform", TensorProto.FLOAT, shape))


def _state_steps(model: Any, places: Iterable[str], samples_a_state: int) -> list[Step]:
    """Steps to the numbers of Whisper's states in two windows, and of those kept of both.

    The windows are those of `WhisperEncoder.forward`, up to `MOST_STATES`. Where one is enough the
    second has a single state, and none is kept of it: no operator has to take an empty tensor.
    """
    _add_constants(
        model,
        {
            "in_state": [samples_a_state], "in_most": [MAX_STATES], "in_zero": [0],
            "in_first_end": [CORE + MARGIN], "in_second_start": [CORE - MARGIN],
            "in_core": [CORE], "in_shift": [2 * MARGIN],
        },
    )  # fmt: skip
    first, second, kept = places
    return [
        ("Add", ["in_samples", "in_missing"], "in_total"),
        ("Div", ["in_total", "in_state"], "in_whole_states"),
        ("Max", ["in_whole_states", "in_one"], "in_states"),
        ("Greater", ["in_states", "in_most"], "in_is_long"),
        ("Where", ["in_is_long", "in_first_end", "in_states"], "in_end_1"),
        ("Where", ["in_is_long", "in_second_start", "in_zero"], "in_start_2"),
        ("Where", ["in_is_long", "in_states", "in_one"], "in_end_2"),
        # a range takes numbers
        *(
            ("Squeeze", [name], f"{name}_number")
            for name in ("in_zero", "in_one", "in_states", "in_end_1", "in_start_2", "in_end_2")
        ),
        ("Range", ["in_zero_number", "in_end_1_number", "in_one_number"], first),
        ("Range", ["in_start_2_number", "in_end_2_number", "in_one_number"], second),
        # Of a long clip those from CORE on lie in the second window, behind all of the first.
        ("Range", ["in_zero_number", "in_states_number", "in_one_number"], "in_all"),
        ("GreaterOrEqual", ["in_all", "in_core"], "in_is_late"),
        ("And", ["in_is_late", "in_is_long"], "in_is_second"),
        ("Add", ["in_all", "in_shift"], "in_shifted"),
        ("Where", ["in_is_second", "in_shifted", "in_all"], kept),
    ]


def _add_constants(model: Any, values: dict[str, list[int]]) -> None:
    """Add int64 vectors to a model."""
    from onnx import numpy_helper

    for name, numbers in values.items():
        array = np.array(numbers, dtype=np.int64)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
