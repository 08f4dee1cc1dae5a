"""Vocoder weights on disk: our own folders and the layouts in which weights are published.

| files | layout |
| --- | --- |
| config.yaml + model.safetensors | ours, of a vocoder or of a whole codec |
| config.yaml + pytorch_model.bin | Vocos, such as charactr/vocos-mel-24khz |
| config.json + bigvgan_generator.pt | BigVGAN-v2, such as nvidia/bigvgan_v2_24khz_100band_256x |
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from codec.files.reading import read_file
from codec.layers.weight_norm import DIRECTION, MAGNITUDE
from codec.runtime.checkpoint_file import read_checkpoint

from .config import BIGVGAN_MEL, CodecConfig, CodecConfigError, MelConfig, VocoderConfig
from .pretrained import find_model

Loaded = tuple[MelConfig, VocoderConfig, dict[str, Tensor]]


def read_vocoder(source: str | os.PathLike[str]) -> Loaded:
    """Read mel convention, sizes and weights, the latter under our names and with weight norm.

    Args:
        source: A folder of one of the layouts, a file in it, or a hub repository's name.

    Raises:
        CodecConfigError: Nothing is there, it is damaged, or a vocoder that is not supported.
    """
    path = Path(source).parent if Path(source).is_file() else source
    path = find_model(path, sorted({name for pair in _READERS for name in pair}), "vocoder")
    for (config, weights), read in _READERS.items():
        if (path / config).is_file() and (path / weights).is_file():
            return read(path / config, path / weights)
    layouts = ", or ".join(" and ".join(pair) for pair in _READERS)
    raise CodecConfigError(f"{path}: expected the files {layouts}")


def _own(config: Path, weights: Path) -> Loaded:
    values = _parsed(config, yaml.safe_load)
    values = {name: values[name] for name in ("mel", "vocoder") if name in values}
    parts = CodecConfig.from_dict(values)
    try:
        tensors = load_file(weights)
    except SafetensorError as error:
        raise CodecConfigError(f"{weights}: damaged; {error}") from error
    # of a whole codec, the vocoder alone
    prefix = "vocoder."
    inside = {name[len(prefix) :]: tensors[name] for name in tensors if name.startswith(prefix)}
    return parts.mel, parts.vocoder, inside or tensors


def _vocos(config: Path, weights: Path) -> Loaded:
    values = _parsed(config, yaml.safe_load)
    classes = {"feature_extractor": "MelSpectrogramFeatures", "backbone": "VocosBackbone"}
    arguments = {}
    for part, expected in {**classes, "head": "ISTFTHead"}.items():
        found = values.get(part, {})
        if str(found.get("class_path")).rsplit(".", 1)[-1] != expected:
            raise CodecConfigError(
                f"{config}: expected a {part} of class {expected}, got {found.get('class_path')}"
            )
        arguments[part] = found.get("init_args", {})
    # defaults are those of the package's classes
    mel = MelConfig(**{"padding": "center", **arguments["feature_extractor"]})
    backbone, head = arguments["backbone"], arguments["head"]
    size = VocoderConfig(*(backbone.get(n, 0) for n in ("dim", "intermediate_dim", "num_layers")))
    checks = {
        "backbone.input_channels": (backbone.get("input_channels"), mel.n_mels),
        "backbone.adanorm_num_embeddings": (backbone.get("adanorm_num_embeddings"), None),
        "head.dim": (head.get("dim"), size.dim),
        "head.n_fft": (head.get("n_fft"), mel.n_fft),
        "head.hop_length": (head.get("hop_length"), mel.hop_length),
        "head.padding": (head.get("padding", "same"), mel.padding),
    }
    _compare(config, checks)
    tensors = _unpickled(weights)
    return mel, size, {k: v for k, v in tensors.items() if k.split(".")[0] in ("backbone", "head")}


def _bigvgan(config: Path, weights: Path) -> Loaded:
    values = _parsed(config, json.loads)
    mel = MelConfig(
        values.get("sampling_rate", 0),
        values.get("n_fft", 0),
        values.get("hop_size", 0),
        values.get("num_mels", 0),
        BIGVGAN_MEL.floor,
        BIGVGAN_MEL.padding,
        BIGVGAN_MEL.filters,
        BIGVGAN_MEL.power_offset,
    )
    ratios, kernels = (values.get(n, []) for n in ("upsample_rates", "resblock_kernel_sizes"))
    size = VocoderConfig(
        kind="bigvgan",
        channels=values.get("upsample_initial_channel", 0),
        ratios=tuple(ratios),
        kernels=tuple(kernels),
    )
    # our generator is built with these; others would load and sound wrong
    expected = {
        "resblock": "1",
        "resblock_dilation_sizes": [[1, 3, 5]] * len(kernels),
        "upsample_kernel_sizes": [2 * ratio for ratio in ratios],
        "activation": "snakebeta",
        "snake_logscale": True,
        "use_tanh_at_final": False,
        "use_bias_at_final": False,
        "win_size": mel.n_fft,
        "fmin": 0,
    }
    checks = {name: (values.get(name), value) for name, value in expected.items()}
    checks["fmax"] = (values.get("fmax") or mel.sample_rate / 2, mel.sample_rate / 2)
    _compare(config, checks)
    tensors: dict[str, Tensor] = {}
    for name, value in _unpickled(weights, "generator").items():
        tensors.update(_weight_normed(f"generator.{name}", value))
    return mel, size, tensors


_READERS: dict[tuple[str, str], Callable[[Path, Path], Loaded]] = {
    ("config.yaml", "model.safetensors"): _own,
    ("config.yaml", "pytorch_model.bin"): _vocos,
    ("config.json", "bigvgan_generator.pt"): _bigvgan,
}


def _weight_normed(name: str, value: Tensor) -> dict[str, Tensor]:
    """A generator's weight under the names of the parametrization.

    Published weights are stored as magnitude and direction, or folded, which gives both.
    """
    module, _, kind = name.rpartition(".")
    if kind == "weight":  # folded: the direction is the weight itself
        norm = value.flatten(1).norm(dim=1).view(-1, *[1] * (value.ndim - 1))
        return {f"{module}.{MAGNITUDE}": norm, f"{module}.{DIRECTION}": value}
    kinds = {"weight_g": MAGNITUDE, "weight_v": DIRECTION}
    return {f"{module}.{kinds.get(kind, kind)}": value}


def _parsed(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        values = parse(read_file(path).decode())
    except (yaml.YAMLError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CodecConfigError(f"{path}: cannot be read; {error}") from error
    if not isinstance(values, dict):
        raise CodecConfigError(f"{path}: expected a mapping, got {type(values).__name__}")
    return values


def _unpickled(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """Tensors of a torch file, of nothing else than tensors, or those under `key` in it."""
    try:
        values = read_checkpoint(path)
        return values if key is None else values[key]
    except (ValueError, KeyError, TypeError) as error:
        raise CodecConfigError(
            f"{path}: expected a torch file of tensors{f' under {key!r}' if key else ''}; {error!r}"
        ) from error


def _compare(path: Path, checks: dict[str, tuple[Any, Any]]) -> None:
    """Refuse settings that this package's vocoders do not have."""
    for name, (found, expected) in checks.items():
        if found != expected:
            raise CodecConfigError(f"{path}: expected {name} {expected!r}, got {found!r}")
