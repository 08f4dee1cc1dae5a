"""Weights that only training needs, beside a codec: discriminators and a distillation's head.

They lie in training.safetensors, in a phase's folder and in that of a released codec.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from codec.files import whole_file
from codec.model.pretrained import BUNDLED
from codec.weights import save_tensors

from .module import CodecTraining

AUXILIARY = "training.safetensors"


def save_auxiliary_weights(module: CodecTraining, folder: Path) -> Path | None:
    """Write training.safetensors into the folder of a phase or codec, and return its path.

    None when the phase has no such networks, and nothing is written.
    """
    # names such as discriminators.members.0.convs.0.bias
    tensors = {
        f"{part}.{name}": value.detach().cpu().contiguous()
        for part, network in _networks(module).items()
        for name, value in network.state_dict().items()
    }
    return _write(
        folder, tensors, {"discriminators": json.dumps(asdict(module.phase.discriminators))}
    )


def collect_auxiliary_weights(phases: Sequence[Path], folder: Path) -> Path | None:
    """Write training.safetensors into a codec's folder from those of several phases.

    Each network is taken from the first phase that has it; None when no phase has any, and nothing
    is written.
    """
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for path in filter(Path.is_file, (phase / AUXILIARY for phase in phases)):
        present = {name.split(".")[0] for name in tensors}
        found = {k: v for k, v in _read(path, "").items() if k.split(".")[0] not in present}
        # The metadata describe the discriminators, and come from the file that these are from.
        if any(name.startswith("discriminators.") for name in found):
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
        tensors |= found
    return _write(folder, tensors, metadata)


def load_auxiliary_weights(
    module: CodecTraining,
    release: str | os.PathLike[str] = "",
    earlier: Sequence[str | os.PathLike[str]] = (),
) -> list[str]:
    """Begin a phase with the discriminators and the head of earlier training.

    Each of the two comes from the first folder that has it. Without a release, a network that no
    earlier phase had starts anew without a notice; a release is expected to bring both.

    Args:
        module: A phase about to start.
        release: A folder with training.safetensors, or the name of a bundled codec; "" for none.
        earlier: Folders of earlier phases of the run, which come before the release.

    Returns:
        A sentence for each reason why expected networks start anew; empty when all were loaded.
    """
    folders = [Path(folder) for folder in earlier]
    if release:
        folders.append(Path(release) if Path(release).is_dir() else BUNDLED / str(release))
    paths = [folder / AUXILIARY for folder in folders if (folder / AUXILIARY).is_file()]
    missing = f"{release} has no {AUXILIARY} with them" if release else None
    reasons = {
        part: _load_first(network, part, paths, missing)
        for part, network in _networks(module).items()
    }
    # Networks that start anew for the same reason share a sentence.
    notices = []
    for reason in dict.fromkeys(filter(None, reasons.values())):
        parts = ", ".join(part for part in reasons if reasons[part] == reason)
        notices.append(f"{parts} start anew: {reason}")
    return notices


def _load_first(
    network: nn.Module, part: str, paths: Sequence[Path], missing: str | None
) -> str | None:
    """Load a network from the first file that has it; why not, `missing` where no file has it."""
    for path in paths:
        try:
            found = _read(path, f"{part}.")
        except SafetensorError as error:
            return f"{path} is damaged ({error})"
        if found:
            misfit = _misfit(network.state_dict(), found)
            if misfit is None:
                network.load_state_dict(found)
            return misfit and f"those of {path} do not fit, {misfit}"
    return missing


def _networks(module: CodecTraining) -> dict[str, nn.Module]:
    """Networks of a phase that no codec has, by name."""
    networks = {
        "discriminators": module.discriminators,
        "distillation": module.distillation,
        "mel_discriminators": module.mel_discriminators,
    }
    return {name: network for name, network in networks.items() if network is not None}


def _misfit(own: dict[str, Tensor], found: dict[str, Tensor]) -> str | None:
    """First difference in name or shape between weights; None when they can be loaded."""
    different = sorted(own.keys() ^ found.keys())
    if different:
        return f"they differ in {different[0]}"
    for name, value in own.items():
        if value.shape != found[name].shape:
            return f"{name}: expected {tuple(value.shape)}, got {tuple(found[name].shape)}"
    return None


def _read(path: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose names start with a prefix, without it."""
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def _write(folder: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> Path | None:
    """Write training.safetensors, whole or not at all; without tensors nothing."""
    if not tensors:
        return None
    with whole_file(folder / AUXILIARY) as partial:
        save_tensors(tensors, partial, metadata=metadata)
    return folder / AUXILIARY
