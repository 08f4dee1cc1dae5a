"""Loading of the networks that metrics need: on first use, and from local folders alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from codec.devices import exact_float32
from codec.error_text import message_of
from eval.protocols import WeightSpec
from eval.weights import metric_device, require_weight

if TYPE_CHECKING:
    import torch


class LoadedMetric:
    """Base of metrics, speaker encoders and recognisers that load a model.

    The model is loaded on first use and dropped on pickling, so that a metric can be sent to a
    worker process.
    """

    _model: Any = None

    def prepare(self) -> None:
        """Load the model unless that is done.

        Raises:
            ValueError: Its weights are missing or of another model.
        """
        if self._model is None:
            self._model = self._load()

    def _load(self) -> Any:
        """Return the model, ready to be called."""
        raise NotImplementedError

    @contextmanager
    def inference(self) -> Iterator[torch.device]:
        """Run a network: without gradients, in float32 itself; gives its device."""
        import torch

        device = metric_device()
        with torch.inference_mode(), exact_float32(device):
            yield device

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_model"}


def load_hf_model(weight: WeightSpec, model: str, processor: str) -> tuple[Any, Any]:
    """Load a model and its processor from a folder that transformers saved.

    Args:
        weight: The folder; nothing is downloaded.
        model: Name of the model's class in transformers.
        processor: Likewise of what turns waveforms into its inputs.

    Returns:
        The model in eval mode, on the device of metrics, and the processor.

    Raises:
        ValueError: No folder was named, or it holds no such model.
    """
    folder = require_weight(weight)
    transformers = import_module("transformers")
    try:
        loaded_processor = getattr(transformers, processor).from_pretrained(
            folder, local_files_only=True
        )
        loaded = getattr(transformers, model).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,  # nothing is unpickled
        )
    except OSError as error:
        raise ValueError(f"expected a {model} in {folder}: {message_of(error)}") from error
    return loaded.eval().to(metric_device()), loaded_processor
