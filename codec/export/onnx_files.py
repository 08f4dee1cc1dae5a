"""A codec as two ONNX files, `encoder.onnx` and `decoder.onnx`, and their sizes in `meta.json`.

Beside torch, onnxruntime gives at most one other code in a thousand, levels within 0.001 dB, and
waveforms of the same codes with an SNR of at least 40 dB; `comparison` measures it, and
docs/guides/onnx.md has the figures of the shipped codecs.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from codec.checks import require
from codec.files import read_json, replaced_files, write_json
from codec.model.config import CodecConfig
from codec.model.hh_codec import HHCodec
from codec.model.whisper_encoder import INPUT_RATE, MAX_STATES
from codec.requirements import install_command
from codec.streaming.long_form import FADE, OVERLAP, WINDOW

from .graph_inputs import MOST_STATES, rename_input, take_waveforms
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
    config.voice.refuse("ONNX, whose graphs have none")
    most = MOST_STATES * 2 * config.mel.sample_rate // (INPUT_RATE * LONGEST)
    if "encoder" in parts and config.encoder.speech_layers and config.hop_length > most:
        raise ValueError(
            f"hop_length: expected at most {most} for ONNX with encoder.speech_layers, got "
            f"{config.hop_length}"
        )
    if "encoder" in parts and config.encoder.kind == "mel":
        # A graph mirrors the ends of every clip, however short.
        mel = config.mel
        margin = (mel.n_fft - (mel.hop_length if mel.padding == "same" else 0)) // 2
        require(config.hop_length > margin, "hop_length", f"> {margin} for ONNX", config.hop_length)
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


def export_onnx(
    codec: HHCodec,
    folder: str | Path,
    parts: Sequence[str] = PARTS,
    *,
    on_progress: Callable[[str], object] | None = None,
) -> dict[str, Any]:
    """Write a codec's ONNX files and `meta.json`, which appear together.

    Args:
        codec: In eval mode, on the CPU.
        folder: To write to; made if missing.
        parts: Files to write, of `PARTS`.
        on_progress: Called with each step as it begins, such as "making encoder.onnx".

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
    begin = on_progress or (lambda step: None)
    plain, models = plain_copy(codec), {}
    if "encoder" in parts:
        begin(f"making {ENCODER}")
        models[ENCODER] = _encoder_model(plain)
    if "decoder" in parts:
        begin(f"making {DECODER}")
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
    for name, model in models.items():
        begin(f"checking {name}")
        onnx.checker.check_model(model)
    begin(f"writing {folder}")
    with replaced_files(folder, META) as partial:
        for name, model in models.items():
            onnx.save(model, str(partial / name))
        write_json(partial / META, meta)
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
    dynamic = torch.export.Dim.DYNAMIC
    inputs: tuple[Any, ...] = (blocks, lengths)
    shapes: tuple[Any, ...] = ({0: dynamic, 1: _codes()}, {0: dynamic})
    if plain.config.encoder.speech_layers:
        # three numbers of states that have nothing to do with each other nor with the codes
        inputs += (tuple(torch.arange(count) for count in (70, 30, 85)),)
        window = {0: dynamic(max=MAX_STATES)}
        shapes += ((window, window, {0: dynamic}),)
    model = _exported(EncoderGraph(plain), inputs, shapes, ["codes", "level_dbfs"])
    take_waveforms(model, hop, plain.sample_rate)
    return model


def _decoder_model(plain: HHCodec) -> Any:
    """The decoder and vocoder of a plain copy."""
    codes = torch.zeros(2, EXAMPLE_CODES, dtype=torch.int64)
    shapes = ({0: torch.export.Dim.DYNAMIC, 1: _codes()},)
    model = _exported(DecoderGraph(plain), (codes,), shapes, ["waveform"])
    rename_input(model, model.graph.input[0].name, "codes")
    return model


def _codes() -> Any:
    """The dimension of the codes."""
    return torch.export.Dim("codes", min=1, max=LONGEST)


def _exported(
    graph: nn.Module, inputs: tuple[Any, ...], shapes: tuple[Any, ...], outputs: list[str]
) -> Any:
    """The ONNX model of a module, of inputs with dynamic shapes."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    registry.addFilter(_is_of_torch)
    with warnings.catch_warnings():
        # torch's exporter reads trees of arguments in a way that torch has deprecated
        warnings.filterwarnings(
            "ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning
        )
        try:
            program = torch.export.export(graph.eval(), inputs, dynamic_shapes=shapes, strict=False)
            made = torch.onnx.export(program, dynamo=True, verbose=False, output_names=outputs)
        finally:
            registry.removeFilter(_is_of_torch)
    assert made is not None
    return made.model_proto


def _is_of_torch(record: logging.LogRecord) -> bool:
    """False for the exporter's lines on operators of a package that no codec needs."""
    return not record.getMessage().startswith("torchvision is not installed. Skipping ")
