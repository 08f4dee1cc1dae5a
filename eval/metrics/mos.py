"""Predicted opinions of listeners from one waveform alone: DNSMOS and DistillMOS.

No recording is compared with; print the score of the originals beside that of the copies.
"""

import contextlib
import io
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy as np

from eval.foreign import import_without_torchaudio
from eval.protocols import FigureInfo, Item, MetricError, MetricInfo, Score, WeightSpec
from eval.sound import checked, resampled
from eval.weights import require_weight

from .mel import slaney_mel

Part = Literal["estimate", "reference"]
RATE = 16000
WINDOW_SECONDS = 9.01
WINDOW = int(WINDOW_SECONDS * RATE)
# DNSMOS P.835: published maps from the network's answers to opinions, highest power first.
_P835 = {
    "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
    "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
    "dnsmos_ovr": (-0.06766283, 1.11546468, 0.04602535),
}
_DNS_HOW = "pip install --no-deps speechmos==0.0.1.1 (the ONNX files are inside)"
DNSMOS_WEIGHTS = (
    WeightSpec(
        "dnsmos_p835",
        "MIT",
        _DNS_HOW,
        sha256="269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd",
        bundled=("speechmos", "dnsmos_models/sig_bak_ovr.onnx"),
    ),
    WeightSpec(
        "dnsmos_p808",
        "MIT",
        _DNS_HOW,
        sha256="9246480c58567bc6affd4200938e77eef49468c8bc7ed3776d109c07456f6e91",
        bundled=("speechmos", "dnsmos_models/model_v8.onnx"),
    ),
)


def heard_part(item: Item, part: Part) -> np.ndarray:
    """One waveform of an item at 16 kHz, (T,) float32, clipped to [-1, 1].

    Raises:
        MetricError: It is missing or cannot be measured.
    """
    waveform = item.estimate if part == "estimate" else item.reference
    if waveform is None:
        raise MetricError(f"expected a waveform as {part}, got none")
    samples = resampled(checked(waveform, item.sample_rate, part), item.sample_rate, RATE)
    return np.clip(samples, -1.0, 1.0).astype(np.float32)


def windows(waveform: np.ndarray) -> np.ndarray:
    """Windows of 9.01 s a second apart, (N, 144160); a shorter waveform is doubled till it fits."""
    while waveform.size < WINDOW:
        waveform = np.tile(waveform, 2)
    count = int(np.floor(waveform.size / RATE) - WINDOW_SECONDS) + 1
    # The published code drops a window whose end falls a sample short in floating point.
    whole = [n for n in range(count) if int((n + WINDOW_SECONDS) * RATE) >= n * RATE + WINDOW]
    return np.stack([waveform[n * RATE : n * RATE + WINDOW] for n in whole])


@dataclass
class DnsMosMetric:
    """DNSMOS P.835 (speech, background, overall) and P.808 of one waveform of an item.

    Args:
        part: "estimate", or "reference" for the originals that belong beside it.
    """

    part: Part = "estimate"
    _sessions: tuple[Any, Any] | None = field(default=None, repr=False)

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        suffix = "" if self.part == "estimate" else "_original"
        names = ("dnsmos_ovr", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808")
        return MetricInfo(
            id=f"dnsmos{suffix}.speechmos00",
            definition=f"DNSMOS P.835 and P.808 of the {self.part} at 16 kHz, mean over windows "
            "of 9.01 s a second apart, shorter clips doubled till they fill one, level as it is",
            needs=frozenset({self.part}),
            figures=tuple(FigureInfo(name, higher_is_better=True) for name in names),
            sample_rate=RATE,
            packages=(("onnxruntime", "1."),),
            weights=DNSMOS_WEIGHTS,
        )

    def prepare(self) -> None:
        """Opens both networks, a thread each."""
        if self._sessions is None:
            runtime = import_module("onnxruntime")
            options = runtime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            first, second = (
                runtime.InferenceSession(
                    str(require_weight(spec)), options, providers=["CPUExecutionProvider"]
                )
                for spec in DNSMOS_WEIGHTS
            )
            self._sessions = first, second

    def score(self, item: Item) -> Score:
        """Four opinions from about 1 to 5 and the number of windows; see `Metric`."""
        self.prepare()
        parts = windows(heard_part(item, self.part))
        rows = [self._opinions(window) for window in parts]
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        return Score({**means, "num_windows": float(len(rows))})

    def _opinions(self, window: np.ndarray) -> dict[str, float]:
        """Opinions of one window of 9.01 s."""
        assert self._sessions is not None
        p835, p808 = self._sessions
        raw = p835.run(None, {"input_1": window[None]})[0][0]
        opinions = {
            name: float(np.polyval(powers, value))
            for (name, powers), value in zip(_P835.items(), raw, strict=True)
        }
        mel = slaney_mel(window[:-160], RATE, n_fft=321, hop_length=160, n_mels=120)
        decibels = 10.0 * np.log10(np.maximum(mel, 1e-10) / max(float(mel.max()), 1e-10))
        features = ((np.maximum(decibels, -80.0) + 40.0) / 40.0).T.astype(np.float32)
        opinions["dnsmos_p808"] = float(p808.run(None, {"input_1": features[None]})[0][0][0])
        return opinions

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the networks behind, so that the metric can be sent to a worker process."""
        return {"part": self.part, "_sessions": None}


@dataclass
class DistillMosMetric:
    """DistillMOS of one waveform of an item, the best opinion that runs from a wheel alone.

    Args:
        part: "estimate", or "reference" for the originals that belong beside it.
    """

    part: Part = "estimate"
    _model: Any = field(default=None, repr=False)

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        suffix = "" if self.part == "estimate" else "_original"
        return MetricInfo(
            id=f"distillmos{suffix}.v7",
            definition=f"DistillMOS variant 7 of the {self.part} at 16 kHz, mean over windows of "
            "7.68 s spread evenly, at most 1 s apart",
            needs=frozenset({self.part}),
            figures=(FigureInfo("distillmos", higher_is_better=True),),
            sample_rate=RATE,
            packages=(("distillmos", "0.9."), ("xls-r-sqa", "0.1.")),
            # Their metadata ask for torchaudio, which neither needs to score a waveform.
            install="pip install --no-deps distillmos==0.9.1 xls-r-sqa==0.1.0",
            alternative="dnsmos",
            is_large=True,
        )

    def prepare(self) -> None:
        """Loads the network of 4 million parameters from the package."""
        if self._model is None:
            package = import_without_torchaudio("distillmos")
            with contextlib.redirect_stdout(io.StringIO()):
                self._model = package.ConvTransformerSQAModel().eval()

    def score(self, item: Item) -> Score:
        """Opinion from 1 to 5; see `Metric`."""
        import torch

        self.prepare()
        waveform = heard_part(item, self.part)
        with torch.inference_mode():
            return Score(
                {"distillmos": float(self._model(torch.from_numpy(waveform)[None]).mean())}
            )

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the network behind, so that the metric can be sent to a worker process."""
        return {"part": self.part, "_model": None}
