"""A codec on disk: `config.yaml` and `model.safetensors`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from codec.files import replaced_files
from codec.weights import bounded_build, check_finite, save_tensors

from .config import CodecConfig, CodecConfigError

FILES = CONFIG, WEIGHTS = "config.yaml", "model.safetensors"
# The second stage's names for a transform that it shares with the first.
SHARED_COPY = "quantizer.stages.1.code_transform."

Codec = TypeVar("Codec", bound=nn.Module)


def write_codec(
    folder: Path,
    config: CodecConfig,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, str] | None = None,
) -> None:
    """Write config and weights, which appear together.

    Args:
        folder: Of the codec.
        config: Of the codec.
        tensors: Its state dict, weight norm not removed.
        header: Words in the header of the weights.
    """
    stored = {name: value.contiguous() for name, value in tensors.items()}
    if config.quantizer.shared_transform:
        stored = {k: v for k, v in stored.items() if not k.startswith(SHARED_COPY)}
    with replaced_files(folder, WEIGHTS) as partial:
        config.save(partial / CONFIG)
        words = None if header is None else dict(header)
        save_tensors(stored, partial / WEIGHTS, metadata=words)


def read_codec(folder: Path, build: Callable[[CodecConfig], Codec]) -> tuple[Codec, dict[str, str]]:
    """Build a codec with the weights of a folder, and read the header of those.

    Args:
        folder: As of `write_codec`.
        build: Class of the codec, which takes the config.

    Raises:
        CodecConfigError: Nothing is there, or it is not a codec.
    """
    config, path = CodecConfig.load(folder / CONFIG), folder / WEIGHTS
    if not path.is_file():
        raise CodecConfigError(f"no codec weights at {path}")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        check_finite(path, tensors, error=CodecConfigError)
        with bounded_build(folder, tensors, error=CodecConfigError):
            # Float32 whatever torch's default type is, so that weights come as they are stored.
            codec = build(config).float()
        # A transform that the stages share is stored once, so one name of it is missing.
        missing, unexpected = codec.load_state_dict(tensors, strict=False)
    except (SafetensorError, RuntimeError) as error:
        raise CodecConfigError(
            f"{path}: damaged, or of another size than in {CONFIG}; {error}"
        ) from error
    missing = [name for name in missing if not name.startswith(SHARED_COPY)]
    if missing or unexpected:
        raise CodecConfigError(
            f"{folder}: weights do not fit the config, missing {missing[:3]}, "
            f"unexpected {unexpected[:3]}"
        )
    return codec, header
