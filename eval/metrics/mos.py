"""Predicted-MOS metrics: DNSMOS, DistillMOS and UTMOS22.

Each takes one waveform and no recording to compare it with; print the score of the originals
beside that of the copies.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from codec.requirements import install_command
from eval.loading import LoadedMetric
from eval.protocols import FigureInfo, Item, Metric, MetricInfo, Part, Score, WeightSpec
from eval.sound import checked_part, resampled
from eval.weights import metric_device, require_weight

from .mel import slaney_mel

RATE = 16000
WINDOW_SECONDS = 9.01
WINDOW = int(WINDOW_SECONDS * RATE)
# DNSMOS P.835: published maps from the network's outputs to MOS, highest power first.
_P835 = {
    "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
    "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
    "dnsmos_ovr": (-0.06766283, 1.11546468, 0.04602535),
}
_DNS_HOW = f"{install_command('speechmos')} (the ONNX files are inside)"
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
UTMOS22 = WeightSpec(
    "utmos22_strong",
    "MIT",
    "get utmos22_strong_step7459_v1.pt from release v1.0.0 of tarepan/SpeechMOS on GitHub",
)


def windows(waveform: np.ndarray) -> np.ndarray:
    """Windows of 9.01 s a second apart, (N, 144160); a shorter waveform is doubled till it fits."""
    while waveform.size < WINDOW:
        waveform = np.tile(waveform, 2)
    count = int(np.floor(waveform.size / RATE) - WINDOW_SECONDS) + 1
    # The published code drops a window whose end falls a sample short in floating point.
    whole = [n for n in range(count) if int((n + WINDOW_SECONDS) * RATE) >= n * RATE + WINDOW]
    return np.stack([waveform[n * RATE : n * RATE + WINDOW] for n in whole])


@dataclass
class _PredictedMos(LoadedMetric, Metric):
    """Base of metrics of one waveform of an item.

    Args:
        part: "estimate", or "reference" for the originals that belong beside it.
    """

    part: Part = "estimate"

    @property
    def _suffix(self) -> str:
        """End of the family name."""
        return "" if self.part == "estimate" else "_original"

    def _waveform(self, item: Item) -> np.ndarray:
        """The waveform at 16 kHz, (T,) float32, clipped to [-1, 1]."""
        samples = resampled(checked_part(item, self.part), item.sample_rate, RATE)
        return np.clip(samples, -1.0, 1.0).astype(np.float32)


class DnsMosMetric(_PredictedMos):
    """DNSMOS P.835 (speech, background, overall) and P.808 of one waveform of an item."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        names = ("dnsmos_ovr", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808")
        return MetricInfo(
            id=f"dnsmos{self._suffix}.speechmos00",
            definition=f"DNSMOS P.835 and P.808 of the {self.part} at 16 kHz, mean over windows "
            "of 9.01 s a second apart, shorter clips doubled till they fill one, level as it is",
            needs=frozenset({self.part}),
            figures=tuple(FigureInfo(name, higher_is_better=True) for name in names),
            sample_rate=RATE,
            packages=(("onnxruntime", "1."),),
            weights=DNSMOS_WEIGHTS,
        )

    def _load(self) -> tuple[Any, ...]:
        """Open both networks, a thread each."""
        runtime = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        return tuple(
            runtime.InferenceSession(str(require_weight(spec)), options, providers=providers)
            for spec in DNSMOS_WEIGHTS
        )

    def score(self, item: Item) -> Score:
        """Four MOS from about 1 to 5 and the number of windows; see `Metric`."""
        self.prepare()
        rows = [self._mos(window) for window in windows(self._waveform(item))]
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        return Score({**means, "num_windows": float(len(rows))})

    def _mos(self, window: np.ndarray) -> dict[str, float]:
        """MOS of one window of 9.01 s."""
        p835, p808 = self._model
        raw = p835.run(None, {"input_1": window[None]})[0][0]
        found = {
            name: float(np.polyval(powers, value))
            for (name, powers), value in zip(_P835.items(), raw, strict=True)
        }
        # P.808 takes mels in dB under the loudest bin, from -80 to 0 mapped to -1 to 1.
        mel = slaney_mel(window[:-160], RATE, n_fft=321, hop_length=160, n_mels=120)
        decibels = 10.0 * np.log10(np.maximum(mel, 1e-10) / max(float(mel.max()), 1e-10))
        features = ((np.maximum(decibels, -80.0) + 40.0) / 40.0).T.astype(np.float32)  # (L, M)
        found["dnsmos_p808"] = float(p808.run(None, {"input_1": features[None]})[0][0][0])
        return found


class DistillMosMetric(_PredictedMos):
    """DistillMOS of one waveform of an item, the best predicted MOS that a wheel alone gives."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id=f"distillmos{self._suffix}.v7",
            definition=f"DistillMOS variant 7 of the {self.part} at 16 kHz, mean over windows of "
            "7.68 s spread evenly, at most 1 s apart",
            needs=frozenset({self.part}),
            figures=(FigureInfo("distillmos", higher_is_better=True),),
            sample_rate=RATE,
            packages=(("distillmos", "0.9."), ("xls-r-sqa", "0.1.")),
            # Their metadata ask for torchaudio, which neither needs to score a waveform.
            alternative="dnsmos",
            is_large=True,
        )

    def _load(self) -> Any:
        """Load the network of 4 million parameters from the package, which prints on the way."""
        from codec.import_shims import import_without_torchaudio

        package = import_without_torchaudio("distillmos")
        with contextlib.redirect_stdout(io.StringIO()):
            return package.ConvTransformerSQAModel().eval().to(metric_device())

    def score(self, item: Item) -> Score:
        """MOS from 1 to 5; see `Metric`."""
        import torch

        self.prepare()
        waveform = torch.from_numpy(self._waveform(item))
        with self.inference() as device:
            return Score({"distillmos": float(self._model(waveform[None].to(device)).mean())})


class UtmosMetric(_PredictedMos):
    """UTMOS22, strong learner, of one waveform of an item.

    The network is built here and was never run on the published weights, which do not come with
    this toolkit: check it on a clip whose score is known before a number is published.
    """

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id=f"utmos22{self._suffix}.strong_speechmos1",
            definition=f"UTMOS22 strong learner without phonemes of the {self.part} at 16 kHz, "
            "one judge and one domain, mean over frames, level as it is",
            needs=frozenset({self.part}),
            figures=(FigureInfo("utmos22", higher_is_better=True),),
            sample_rate=RATE,
            packages=(("transformers", ""),),
            weights=(UTMOS22,),
            alternative="distillmos",
            is_large=True,
        )

    def _load(self) -> Any:
        """Load the published weights; nothing is unpickled but tensors."""
        from codec.runtime.checkpoint_file import read_checkpoint

        path = require_weight(UTMOS22)
        # Takes seconds to import, and transformers need not be installed for the other metrics.
        from .utmos import UtmosNetwork

        network = UtmosNetwork()
        network.load_published(read_checkpoint(path))
        return network.eval().to(metric_device())

    def score(self, item: Item) -> Score:
        """MOS from about 1 to 5; see `Metric`."""
        self.prepare()
        import torch

        waveform = torch.from_numpy(self._waveform(item))
        with self.inference() as device:
            return Score({"utmos22": float(self._model(waveform[None].to(device))[0])})
