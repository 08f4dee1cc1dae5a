"""Voicing and pitch by CREPE's full network, as papers on codecs report V/UV F1."""

from dataclasses import dataclass

import numpy as np

from eval.foreign import import_without_torchaudio
from eval.protocols import FigureInfo, Item, MetricInfo, Score

from .lag import aligned_pair
from .pitch import compare_tracks

RATE = 16000
HOP = 160
VOICED_PERIODICITY = 0.21
SILENCE_DB = -60.0


def track_crepe(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch of a waveform (T,) at 16 kHz in frames of 10 ms.

    A frame is voiced at a periodicity of at least 0.21, unless its perceptual loudness lies under
    -60 dB. The package dithers pitch at random; the draw is seeded here, so that a file scores
    the same twice.

    Returns:
        F0 in Hz (L,) float64 and voicing (L,) bool.
    """
    import torch

    crepe = import_without_torchaudio("torchcrepe")
    audio = torch.from_numpy(np.asarray(waveform, dtype=np.float32))[None]
    before = np.random.get_state()  # noqa: NPY002 - torchcrepe draws from the global state
    np.random.seed(0)  # noqa: NPY002
    try:
        pitch, periodicity = crepe.predict(
            audio, RATE, HOP, 50.0, 550.0, model="full", return_periodicity=True, batch_size=512
        )
    finally:
        np.random.set_state(before)  # noqa: NPY002
    periodicity = crepe.threshold.Silence(SILENCE_DB)(periodicity, audio, RATE, HOP)
    voiced = periodicity[0].numpy() >= VOICED_PERIODICITY
    return pitch[0].numpy().astype(np.float64), voiced


@dataclass(frozen=True)
class CrepePitchMetric:
    """V/UV F1, F0 error and gross errors by CREPE-full, no lag removed, as in the papers."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id="pitch_crepe.full_021",
            definition="CREPE-full at 16 kHz, 10 ms frames, 50-550 Hz, voiced at periodicity >= "
            "0.21 and a loudness over -60 dB, pair cut to the shorter, no lag removed: V/UV F1; "
            "RMS cents over frames voiced in both without gross errors; share off by over 20 %",
            needs=frozenset({"reference", "estimate"}),
            figures=(
                FigureInfo("vuv_f1_crepe", higher_is_better=True),
                FigureInfo("f0_cents_crepe", "cents", higher_is_better=False),
                FigureInfo("gross_error_rate_crepe", "%", higher_is_better=False),
            ),
            sample_rate=RATE,
            packages=(("torchcrepe", "0.0.24"), ("resampy", "0.4."), ("librosa", "0.")),
            # Its metadata ask for torchaudio, which it needs for reading files alone.
            install="pip install --no-deps torchcrepe==0.0.24; pip install resampy==0.4.3 librosa",
            alternative="pitch",
            is_large=True,
        )

    def prepare(self) -> None:
        """Imports torchcrepe; the network comes with it."""
        import_without_torchaudio("torchcrepe")

    def score(self, item: Item) -> Score:
        """The three figures and the frames voiced in both; see `Metric`."""
        pair = aligned_pair(item, RATE)
        agreement = compare_tracks(*(track_crepe(each) for each in pair.raw))
        values: dict[str, float | None] = {
            "vuv_f1_crepe": agreement.vuv_f1,
            "f0_cents_crepe": agreement.f0_cents,
            "gross_error_rate_crepe": agreement.gross_error_rate,
            "num_both_voiced": float(agreement.num_both_voiced),
            "lag_ms": float(pair.lag_ms),
        }
        return Score(values)
