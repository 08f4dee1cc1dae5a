"""Voices as vectors: Resemblyzer's encoder on its own weights, and WavLM x-vectors by path.

Resemblyzer: generalised end-to-end loss, https://arxiv.org/abs/1710.10467.
"""

from importlib import import_module
from typing import Any, Protocol

import numpy as np

from eval.protocols import MetricError, WeightSpec
from eval.weights import require_weight

from .mel import slaney_mel

RATE = 16000
RESEMBLYZER = WeightSpec(
    "resemblyzer",
    "Apache-2.0",
    "pip install --no-deps Resemblyzer==0.1.4 (pretrained.pt is inside; the package itself is "
    "never imported)",
    sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
    bundled=("resemblyzer", "pretrained.pt"),
)
WAVLM_SV = WeightSpec(
    "wavlm_sv",
    "see the model card; microsoft/wavlm-base-plus-sv names none",
    "get a folder such as microsoft/wavlm-base-plus-sv from the Hugging Face hub, with safetensors",
    is_folder=True,
)
HOP = 160
WINDOW_FRAMES = 160
WINDOWS_PER_SECOND = 1.3
LEAST_COVERAGE = 0.75
TARGET_DBFS = -30.0


class SpeakerEncoder(Protocol):
    """Maps a waveform to a vector that says who speaks."""

    id: str
    packages: tuple[tuple[str, str], ...]
    weights: tuple[WeightSpec, ...]
    alternative: str
    is_large: bool

    def prepare(self) -> None:
        """Loads the network."""
        ...

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        """Waveform (T,) at 16 kHz to a vector (D,) of length 1."""
        ...


def window_starts(num_samples: int) -> list[int]:
    """First frames of the windows of 1.6 s that cover a waveform at 16 kHz.

    They begin 77 frames apart (1.3 a second); the last one is dropped when less than three
    quarters of it are covered, unless it is the only one.
    """
    frames = int(np.ceil((num_samples + 1) / HOP))
    step = round(RATE / WINDOWS_PER_SECOND / HOP)
    starts = list(range(0, max(1, frames - WINDOW_FRAMES + step + 1), step))
    covered = (num_samples - starts[-1] * HOP) / (WINDOW_FRAMES * HOP)
    return starts[:-1] if covered < LEAST_COVERAGE and len(starts) > 1 else starts


class ResemblyzerEncoder:
    """LSTM of three layers over 40 mel bands; its vectors have no negative entry.

    Level: a waveform below -30 dBFS is raised to it, as published. Silence within is not cut, for
    which the published package needs a compiled voice detector.
    """

    id = "resemblyzer01"
    packages = ()
    weights = (RESEMBLYZER,)
    alternative = ""
    is_large = False

    def __init__(self) -> None:
        self._layers: Any = None

    def prepare(self) -> None:
        """Loads the weights of 1.4 million parameters; nothing is unpickled but tensors.

        Raises:
            ValueError: The weights are missing or of another network.
        """
        if self._layers is not None:
            return
        import torch

        path = require_weight(RESEMBLYZER)
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
        for name, layer in (("lstm.", lstm), ("linear.", linear)):
            part = {key.removeprefix(name): w for key, w in state.items() if key.startswith(name)}
            layer.load_state_dict(part)
        self._layers = lstm.eval(), linear.eval()

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        """Waveform (T,) at 16 kHz to the mean of its windows' vectors, (256,) of length 1."""
        import torch

        self.prepare()
        loudness = 10.0 * np.log10(max(float(np.mean(np.square(waveform))), 1e-12))
        signal = waveform * 10.0 ** (max(TARGET_DBFS - loudness, 0.0) / 20.0)
        starts = window_starts(signal.size)
        missing = max((starts[-1] + WINDOW_FRAMES) * HOP - signal.size, 0)
        mel = slaney_mel(
            np.pad(signal, (0, missing)), RATE, n_fft=400, hop_length=HOP, n_mels=40
        ).T.astype(np.float32)
        batch = np.stack([mel[start : start + WINDOW_FRAMES] for start in starts])
        lstm, linear = self._layers
        with torch.inference_mode():
            _, (hidden, _) = lstm(torch.from_numpy(batch))
            voices = torch.nn.functional.normalize(torch.relu(linear(hidden[-1])), dim=1)
            return unit(voices.mean(dim=0).numpy())

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the network behind, so that a metric can be sent to a worker process."""
        return {"_layers": None}


class WavLMSpeakerEncoder:
    """x-vectors of a WavLM model saved by transformers; its scale is no other encoder's."""

    id = "wavlm_xvector_hf"
    packages = (("transformers", ""),)
    weights = (WAVLM_SV,)
    alternative = "speaker_sim"
    is_large = True

    def __init__(self) -> None:
        self._model: Any = None
        self._features: Any = None

    def prepare(self) -> None:
        """Loads the model from its folder; nothing is downloaded.

        Raises:
            ValueError: No folder was named, or it holds no such model.
        """
        if self._model is not None:
            return
        folder = require_weight(WAVLM_SV)
        transformers = import_module("transformers")
        try:
            self._features = transformers.AutoFeatureExtractor.from_pretrained(
                folder, local_files_only=True
            )
            model = transformers.WavLMForXVector.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except OSError as error:
            raise ValueError(f"expected a WavLM x-vector model in {folder}: {error}") from error
        self._model = model.eval()

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        """Waveform (T,) at 16 kHz to its x-vector, (D,) of length 1."""
        import torch

        self.prepare()
        inputs = self._features(
            waveform.astype(np.float32), sampling_rate=RATE, return_tensors="pt"
        )
        with torch.inference_mode():
            return unit(self._model(**inputs).embeddings[0].numpy())

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the model behind, so that a metric can be sent to a worker process."""
        return {"_model": None, "_features": None}


def unit(vector: np.ndarray) -> np.ndarray:
    """A vector (D,) at length 1.

    Raises:
        MetricError: It is zero or not finite.
    """
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length <= 0.0:
        raise MetricError("the encoder hears no voice")
    return np.asarray(vector, dtype=np.float64) / length
