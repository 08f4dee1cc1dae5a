"""What only trains, kept beside a codec: discriminators and the head of a distillation."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .model import BUNDLED
from .training import CodecTraining

CRITICS = "training.safetensors"


def save_critics(module: CodecTraining, folder: Path) -> Path | None:
    """Write training.safetensors into a folder, whole or not at all.

    Args:
        module: a trained phase.
        folder: a phase's, or a released codec's, whose other files stay as they are.

    Returns:
        the file; None when the phase has nothing that only trains, and nothing is written.
    """
    tensors = {
        f"{part}.{name}": value.detach().cpu().contiguous()
        for part, network in _networks(module).items()
        for name, value in network.state_dict().items()
    }
    if not tensors:
        return None
    about = {"discriminators": json.dumps(asdict(module.phase.discriminators))}
    path = folder / CRITICS
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata=about)
    os.replace(temporary, path)
    return path


def load_critics(module: CodecTraining, source: str | os.PathLike[str]) -> list[str]:
    """Begin a phase with the discriminators and the head of an earlier one.

    Args:
        module: a phase about to start.
        source: a folder with training.safetensors, or the name of a bundled codec.

    Returns:
        what could not be taken over and starts anew, in words; empty when everything was.
    """
    wanted = _networks(module)
    folder = Path(source) if Path(source).is_dir() else BUNDLED / str(source)
    path = folder / CRITICS
    if not wanted:
        return []
    if not path.is_file():
        return [f"{', '.join(wanted)} start anew: {source} has no {CRITICS}"]
    try:
        stored = _read(path)
    except SafetensorError as error:
        return [f"{', '.join(wanted)} start anew: {path} is damaged ({error})"]
    notices = []
    for part, network in wanted.items():
        prefix = f"{part}."
        found = {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
        reason = _misfit(network, found)
        if reason:
            notices.append(f"{part} start anew: those of {path} do not fit, {reason}")
        else:
            network.load_state_dict(found)
    return notices


def _networks(module: CodecTraining) -> dict[str, nn.Module]:
    """What a phase has that no codec has, by name."""
    networks = {"discriminators": module.discriminators, "distillation": module.distillation}
    return {name: network for name, network in networks.items() if network is not None}


def _read(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _misfit(network: nn.Module, found: dict[str, Tensor]) -> str:
    """Why weights cannot be loaded; empty when they can."""
    own = network.state_dict()
    if not found:
        return "there are none"
    different = sorted(own.keys() ^ found.keys())
    if different:
        return f"they differ in {different[0]}"
    for name, value in own.items():
        if value.shape != found[name].shape:
            return f"{name}: expected {tuple(value.shape)}, got {tuple(found[name].shape)}"
    return ""
