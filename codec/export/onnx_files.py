"""A codec as two ONNX files, `encoder.onnx` and `decoder.onnx`, and their sizes in `meta.json`.

Beside torch, onnxruntime gives at most one other code in a hundred, levels within 0.001 dB, and
waveforms of the same codes with an SNR of at least 40 dB. Measured on 12 recordings of 37 s,
hh-mini-24k: no other code of 865, 2e-6 dB, 49 dB at least and 66 dB in the median.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codec.checks import require
from codec.files import read_json, whole_file, write_json
from codec.model.config import CodecConfig
from codec.model.hh_codec import HHCodec
from codec.requirements import install_command
from codec.streaming.long_form import FADE, OVERLAP, WINDOW

from .graphs import DecoderGraph, EncoderGraph, plain_copy
from .harmonic import PlainHarmonicGenerator

PARTS = ("encoder", "decoder")
ENCODER, DECODER, META = "encoder.onnx", "decoder.onnx", "meta.json"
LONGEST = WINDOW  # codes that the command line encodes and decodes whole
EXAMPLE_CODES = 40  # of the clip that is traced; any other number than 0 and 1 does
RULES = {
    "encoder": "waveform (B, T) float32 in [-1, 1], one channel at sample_rate, rows of one length "
    "-> codes (B, ceil(T / hop_length)) int64, level_dbfs (B) float32. Padding and level are done.",
    "decoder": "codes (B, L) int64 -> waveform (B, L * hop_length) float32 at loudness_dbfs. Keep "
    "the first T samples.",
    "level": "Where loudness_dbfs is a number, the decoded waveform times 10 ** ((level_dbfs - "
    "loudness_dbfs) / 20) has the recording's level; times 0 where level_dbfs <= -120.",
    "windows": "More than longest_decoded codes are decoded in windows of so many. What is kept of "
    "a window has `overlap` codes or more on each side; two are mixed over `fade` codes on each "
    "side of their seam.",
}


def check_exportable(config: CodecConfig, parts: Sequence[str] = PARTS) -> None:
    """Refuse what cannot be written as ONNX.

    Args:
        config: Of the codec.
        parts: Of `PARTS`.

    Raises:
        ValueError: Naming the field or the part.
    """
    if not parts or not set(parts) <= set(PARTS):
        raise ValueError(f"expected parts of {', '.join(PARTS)}, got {', '.join(parts) or 'none'}")
    # The exporter cannot follow the number of Whisper's states, a quotient of the number of codes.
    if "encoder" in parts and config.encoder.speech_layers:
        raise ValueError(
            f"encoder.speech_layers: expected 0 for ONNX, got {config.encoder.speech_layers}; the "
            "decoder alone can be written (--part decoder)"
        )
    if "decoder" not in parts:
        return
    if config.vocoder.kind == "bigvgan":
        raise ValueError(
            "vocoder.kind: expected vocos or harmonic for ONNX, got bigvgan; the encoder "
            "alone can be written (--part encoder)"
        )
    most = PlainHarmonicGenerator.LONGEST // LONGEST
    if config.vocoder.kind == "harmonic" and config.hop_length > most:
        raise ValueError(f"hop_length: expected at most {most} for ONNX, got {config.hop_length}")
    if config.vocoder.kind == "harmonic" and config.mel.hop_length % 2:
        raise ValueError(
            f"mel.hop_length: expected an even one for ONNX, got {config.mel.hop_length}"
        )


def export_onnx(codec: HHCodec, folder: str | Path, parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """Write a codec's ONNX files and `meta.json`; each file appears only when whole.

    Args:
        codec: In eval mode, on the CPU.
        folder: To write to; made if missing.
        parts: Files to write, of `PARTS`.

    Returns:
        What `meta.json` holds.

    Raises:
        ImportError: The packages of the extra `onnx` are not installed.
        ValueError: A codec of a kind that cannot be exported, an unknown part, or a folder that
            holds the files of another codec.
    """
    check_exportable(codec.config, parts)
    try:
        import onnx
        import onnxscript  # noqa: F401  # of torch's exporter
    except ImportError as error:
        command = install_command("onnx", "onnxscript")
        raise ImportError(f"the export needs packages: {command} ({error})") from error
    folder = Path(folder)
    check_folder(folder, codec.fingerprint, parts)
    plain, models = plain_copy(codec), {}
    if "encoder" in parts:
        models[ENCODER] = _encoder_model(plain)
    if "decoder" in parts:
        models[DECODER] = _decoder_model(plain)
    meta = {
        "name": codec.config.name,
        "sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
        "codebook_size": codec.codebook_size,
        "loudness_dbfs": codec.config.loudness_dbfs,
        "code_fingerprints": list(codec.code_fingerprints),
        "fingerprint": codec.fingerprint,
        # A part may have been written before the other.
        "longest_encoded": _longest(folder, ENCODER, models),
        "longest_decoded": _longest(folder, DECODER, models),
        "overlap": OVERLAP,
        "fade": FADE,
        "rules": RULES,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        onnx.checker.check_model(model)
        with whole_file(folder / name) as path:
            onnx.save(model, str(path))
    write_json(folder / META, meta)
    return meta


def check_folder(folder: Path, fingerprint: str, parts: Sequence[str]) -> None:
    """Refuse a folder with files that may be another codec's and would stay there.

    Args:
        folder: To write to.
        fingerprint: Of the codec.
        parts: Files that are written anew, of `PARTS`.

    Raises:
        ValueError: `meta.json` names another codec, or is missing beside the other part.
    """
    if (folder / META).is_file():
        found = read_json(folder / META, required=("fingerprint",))["fingerprint"]
        require(found == fingerprint, str(folder), "files of this codec or none", found)
        return
    # A kill leaves a part without the file that tells its codec.
    left = [f"{part}.onnx" for part in PARTS if part not in parts]
    unknown = [name for name in left if (folder / name).exists()]
    require(not unknown, str(folder), f"{META} beside {', '.join(unknown)}", "none")


def _longest(folder: Path, name: str, models: dict[str, Any]) -> int | None:
    """Codes that a file takes at most, None where there is no such file."""
    return LONGEST if name in models or (folder / name).is_file() else None


def _encoder_model(plain: HHCodec) -> Any:
    """The encoder of a plain copy, which takes waveforms."""
    hop = plain.hop_length
    blocks = 0.1 * torch.randn(2, EXAMPLE_CODES, hop, generator=torch.Generator().manual_seed(0))
    lengths = torch.full((2, 1), EXAMPLE_CODES * hop)
    model = _exported(EncoderGraph(plain), (blocks, lengths), ["codes", "level_dbfs"])
    _take_waveforms(model, hop)
    return model


def _decoder_model(plain: HHCodec) -> Any:
    """The decoder and vocoder of a plain copy."""
    codes = torch.zeros(2, EXAMPLE_CODES, dtype=torch.int64)
    model = _exported(DecoderGraph(plain), (codes,), ["waveform"])
    _rename_input(model, model.graph.input[0].name, "codes")
    return model


def _exported(graph: nn.Module, inputs: tuple[Tensor, ...], outputs: list[str]) -> Any:
    """The ONNX model of a module whose inputs are (B, L, ...) or (B, 1)."""
    dynamic = torch.export.Dim.DYNAMIC
    codes = torch.export.Dim("codes", min=1, max=LONGEST)
    shapes = tuple({0: dynamic} | ({1: codes} if x.shape[1] > 1 else {}) for x in inputs)
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    with warnings.catch_warnings():
        # The exporter's own, of what it calls of torch, and that torchvision is not there.
        warnings.simplefilter("ignore")
        registry.setLevel(logging.ERROR)
        try:
            program = torch.export.export(graph.eval(), inputs, dynamic_shapes=shapes, strict=False)
            made = torch.onnx.export(program, dynamo=True, verbose=False, output_names=outputs)
        finally:
            registry.setLevel(level)
    assert made is not None
    return made.model_proto


def _rename_input(model: Any, old: str, new: str) -> None:
    """Give an input another name, in place."""
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new
    for each in model.graph.input:
        if each.name == old:
            each.name = new


def _take_waveforms(model: Any, hop_length: int) -> None:
    """Replace an encoder's inputs, blocks and lengths, by waveforms (B, T) of any length, in place.

    The samples are filled up with zeros to whole codes.
    """
    from onnx import TensorProto, helper, numpy_helper

    blocks, lengths = (each.name for each in model.graph.input)
    constants = {
        "first": [0], "second": [1], "hop": [hop_length], "zeros": [0, 0, 0],
        "block_shape": [0, -1, hop_length], "one": [1],
    }  # fmt: skip
    for name, values in constants.items():
        array = np.array(values, dtype=np.int64)
        model.graph.initializer.append(numpy_helper.from_array(array, f"in_{name}"))
    steps = [
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
