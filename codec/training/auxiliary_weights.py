"""What only trains, kept beside a codec: discriminators and the head of a distillation."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from codec.files import whole_file
from codec.model.pretrained import BUNDLED

from .module import CodecTraining

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
    return _write(folder, tensors, about)


def collect_critics(phases: Sequence[Path], folder: Path) -> Path | None:
    """Write training.safetensors into a folder from those of several phases.

    Args:
        phases: folders; each network is taken from the first that has it.
        folder: a released codec's.

    Returns:
        the file; None when no phase has anything that only trains, and nothing is written.
    """
    tensors: dict[str, Tensor] = {}
    about: dict[str, str] = {}
    for path in filter(Path.is_file, (phase / CRITICS for phase in phases)):
        present = {name.split(".")[0] for name in tensors}
        found = {k: v for k, v in _read(path, "").items() if k.split(".")[0] not in present}
        if any(name.startswith("discriminators.") for name in found):
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
        tensors |= found
    return _write(folder, tensors, about) if tensors else None


def load_critics(
    module: CodecTraining,
    release: str | os.PathLike[str] = "",
    earlier: Sequence[str | os.PathLike[str]] = (),
) -> list[str]:
    """Begin a phase with the discriminators and the head of earlier training.

    Each of the two comes from the first place that has it. It is nothing to speak of when no
    earlier phase of a run had any; a release is expected to bring them.

    Args:
        module: a phase about to start.
        release: a folder with training.safetensors, or the name of a bundled codec; "" for none.
        earlier: folders of earlier phases of the run, which come before the release.

    Returns:
        what was expected and starts anew, in words; empty when everything was taken over.
    """
    places = [Path(folder) / CRITICS for folder in earlier]
    if release:
        folder = Path(release) if Path(release).is_dir() else BUNDLED / str(release)
        places.append(folder / CRITICS)
    reasons = {
        part: _take_over(network, part, places) for part, network in _networks(module).items()
    }
    notices = []
    for reason in dict.fromkeys(reasons.values()):
        parts = ", ".join(part for part in reasons if reasons[part] == reason)
        if reason or (reason is not None and release):
            reason = reason or f"{release} has no {CRITICS} with them"
            notices.append(f"{parts} start anew: {reason}")
    return notices


def _take_over(network: nn.Module, part: str, places: Sequence[Path]) -> str | None:
    """Load a network from the first file that has it.

    Returns:
        None when it was loaded, "" when no file has it, else why the file that has it is of no use.
    """
    for path in filter(Path.is_file, places):
        try:
            found = _read(path, f"{part}.")
        except SafetensorError as error:
            return f"{path} is damaged ({error})"
        if found:
            reason = _misfit(network, found)
            if reason:
                return f"those of {path} do not fit, {reason}"
            network.load_state_dict(found)
            return None
    return ""


def _write(folder: Path, tensors: dict[str, Tensor], about: dict[str, str]) -> Path:
    """Write training.safetensors, whole or not at all."""
    with whole_file(folder / CRITICS) as partial:
        save_file(tensors, partial, metadata=about)
    return folder / CRITICS


def _networks(module: CodecTraining) -> dict[str, nn.Module]:
    """What a phase has that no codec has, by name."""
    networks = {"discriminators": module.discriminators, "distillation": module.distillation}
    return {name: network for name, network in networks.items() if network is not None}


def _read(path: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose names start with a prefix, without it."""
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def _misfit(network: nn.Module, found: dict[str, Tensor]) -> str:
    """Why weights cannot be loaded; empty when they can."""
    own = network.state_dict()
    different = sorted(own.keys() ^ found.keys())
    if different:
        return f"they differ in {different[0]}"
    for name, value in own.items():
        if value.shape != found[name].shape:
            return f"{name}: expected {tuple(value.shape)}, got {tuple(found[name].shape)}"
    return ""
