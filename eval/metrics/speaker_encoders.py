"""Speaker encoders: Resemblyzer on its published weights, and WavLM x-vectors from a folder.

Resemblyzer: generalised end-to-end loss, https://arxiv.org/abs/1710.10467.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from codec.requirements import install_command
from eval.loading import LoadedMetric, load_hf_model
from eval.protocols import MetricError, WeightSpec
from eval.weights import metric_device, require_weight

from .mel import slaney_mel

RATE = 16000
RESEMBLYZER = WeightSpec(
    "resemblyzer",
    "Apache-2.0",
    f"{install_command('Resemblyzer')} (pretrained.pt is inside; the package itself is never "
    "imported)",
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
WINDOW_FRAMES = 160  # 1.6 s
WINDOWS_PER_SECOND = 1.3
LEAST_COVERAGE = 0.75  # of the last window
TARGET_DBFS = -30.0


class SpeakerEncoder(Protocol):
    """Waveform to a vector of the speaker's identity."""

    id: str
    packages: tuple[tuple[str, str], ...]
    weights: tuple[WeightSpec, ...]
    alternative: str
    is_large: bool

    def prepare(self) -> None:
        """Load the network."""

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        """Map a waveform (T,) at 16 kHz to a vector (D,) of length 1."""
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


class ResemblyzerEncoder(LoadedMetric):
    """LSTM of three layers over 40 mel bands; its vectors have no negative entry.

    Level: a waveform below -30 dBFS is raised to it, as published. Silence within is not cut, for
    which the published package needs a compiled voice detector.
    """

    id = "resemblyzer01"
    packages = ()
    weights = (RESEMBLYZER,)
    alternative = ""
    is_large = False

    def _load(self) -> tuple[Any, Any]:
        """Load the 1.4 million parameters; nothing is unpickled but tensors."""
        import torch

        from codec.runtime.checkpoint_file import read_checkpoint

        path = require_weight(RESEMBLYZER)
        state = read_checkpoint(path, required=("model_state",))["model_state"]
        lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
        for name, layer in (("lstm.", lstm), ("linear.", linear)):
            part = {key.removeprefix(name): w for key, w in state.items() if key.startswith(name)}
            layer.load_state_dict(part)
        device = metric_device()
        return lstm.eval().to(device), linear.eval().to(device)

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        """Map a waveform (T,) at 16 kHz to the mean of its windows' vectors, (256,) of length 1."""
        import torch

        self.prepare()
        loudness = 10.0 * np.log10(max(float(np.mean(np.square(waveform))), 1e-12))
        signal = waveform * 10.0 ** (max(TARGET_DBFS - loudness, 0.0) / 20.0)
        starts = window_starts(signal.size)
        missing = max((starts[-1] + WINDOW_FRAMES) * HOP - signal.size, 0)
        padded = np.pad(signal, (0, missing))
        mel = slaney_mel(padded, RATE, n_fft=400, hop_length=HOP, n_mels=40)
        mel = mel.T.astype(np.float32)  # (L, M)
        batch = np.stack([mel[start : start + WINDOW_FRAMES] for start in starts])  # (N, 160, M)
        lstm, linear = self._model
        with self.inference() as device:
            # A window's vector is the last layer's state after its last frame.
            _, (hidden, _) = lstm(torch.from_numpy(batch).to(device))
            voices = torch.nn.functional.normalize(torch.relu(linear(hidden[-1])), dim=1)
            return unit(voices.mean(dim=0).cpu().numpy())


class WavLMSpeakerEncoder(LoadedMetric):
    """x-vectors of a WavLM model saved by transformers; its scale is no other encoder's."""

    id = "wavlm_xvector_hf"
    packages = (("transformers", ""),)
    weights = (WAVLM_SV,)
    alternative = "speaker_sim"
    is_large = True

    def _load(self) -> tuple[Any, Any]:
        """Load model and feature extractor from their folder."""
        return load_hf_model(WAVLM_SV, "WavLMForXVector", "AutoFeatureExtractor")

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        """Map a waveform (T,) at 16 kHz to its x-vector, (D,) of length 1."""
        self.prepare()
        model, extractor = self._model
        inputs = extractor(waveform.astype(np.float32), sampling_rate=RATE, return_tensors="pt")
        with self.inference() as device:
            return unit(model(**inputs.to(device)).embeddings[0].cpu().numpy())


def unit(vector: np.ndarray) -> np.ndarray:
    """Scale a vector (D,) to length 1.

    Raises:
        MetricError: It is zero or not finite.
    """
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length <= 0.0:
        raise MetricError(f"expected a speaker vector of a length above 0, got length {length}")
    return np.asarray(vector, dtype=np.float64) / length
