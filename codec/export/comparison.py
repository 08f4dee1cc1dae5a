"""Distance of a codec's ONNX files from torch, on given recordings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codec.files import read_json
from codec.model.hh_codec import HHCodec
from codec.requirements import install_command

from .onnx_files import DECODER, ENCODER, META

# Tolerances: share of other codes, dB between levels, dB of the SNR of decoded waveforms.
MOST_OTHER_CODES, MOST_LEVEL_DB, LEAST_SNR = 1e-3, 1e-3, 40.0
MOST_SNR = 200.0  # dB, of waveforms that are the same


@dataclass(frozen=True)
class OnnxComparison:
    """Results of onnxruntime beside those of torch; None where a file is missing.

    Attributes:
        num_recordings: Recordings compared.
        seconds: Their duration, s.
        num_codes: Codes of them.
        other_codes: Codes that onnxruntime's encoder gave otherwise.
        level_db: Largest difference of two levels, dB.
        least_snr: Smallest SNR of waveforms decoded from torch's codes, torch's as reference, dB,
            at most 200.
        median_snr: Median of the same, dB.
    """

    num_recordings: int
    seconds: float
    num_codes: int
    other_codes: int | None
    level_db: float | None
    least_snr: float | None
    median_snr: float | None

    @property
    def is_near(self) -> bool:
        """True if all that was compared lies within the stated tolerances."""
        if self.other_codes is not None and self.other_codes > MOST_OTHER_CODES * self.num_codes:
            return False
        if self.level_db is not None and self.level_db > MOST_LEVEL_DB:
            return False
        return self.least_snr is None or self.least_snr >= LEAST_SNR


def compare_with_torch(
    codec: HHCodec, folder: str | Path, waveforms: Iterable[NDArray[np.float32]]
) -> OnnxComparison:
    """Encode recordings by torch and by ONNX files, and decode torch's codes by both.

    Args:
        codec: That the files were made of, in eval mode, on the CPU.
        folder: With `meta.json` and at least one of the files.
        waveforms: Each (T,) float32 in [-1, 1], T >= 1, of at most 1024 codes.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: Files of another codec, or no recording.
    """
    folder = Path(folder)
    found = read_json(folder / META, required=("fingerprint",))["fingerprint"]
    if found != codec.fingerprint:
        raise ValueError(f"{folder}: expected files of {codec.fingerprint}, got {found}")
    encoder, decoder = _session(folder / ENCODER), _session(folder / DECODER)
    num_samples, num_codes, other, levels, ratios = [], 0, 0, [], []
    for waveform in waveforms:
        rows = waveform[None]
        codes = codec.encode(rows)[0]
        num_samples.append(len(waveform))
        num_codes += codes.shape[1]
        if encoder is not None:
            got, level = encoder.run(None, {"waveform": rows})
            other += int((got != codes.numpy()).sum())
            levels.append(abs(float(level[0]) - float(codec.levels(rows)[0])))
        if decoder is not None:
            (decoded,) = decoder.run(None, {"codes": codes.numpy()})
            with torch.inference_mode():
                ratios.append(_snr(codec.decode(codes)[0].numpy(), decoded))
    if not num_samples:
        raise ValueError("expected at least one recording to compare, got none")
    return OnnxComparison(
        num_recordings=len(num_samples),
        seconds=sum(num_samples) / codec.sample_rate,
        num_codes=num_codes,
        other_codes=other if encoder is not None else None,
        level_db=max(levels, default=None),
        least_snr=min(ratios, default=None),
        median_snr=median(ratios) if ratios else None,
    )


def _session(path: Path) -> Any:
    """A file in onnxruntime, None where there is none."""
    if not path.is_file():
        return None
    try:
        import onnxruntime
    except ImportError as error:
        command = install_command("onnxruntime")
        raise ImportError(f"the comparison needs a package: {command} ({error})") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # what is asked of torch holds for both
    return onnxruntime.InferenceSession(path, options)


def _snr(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """SNR of a waveform, at most `MOST_SNR` dB."""
    signal = float(np.square(reference, dtype=np.float64).sum())
    noise = float(np.square(got - reference, dtype=np.float64).sum())
    least = signal * 10 ** (-MOST_SNR / 10)
    return MOST_SNR if noise <= least else 10 * float(np.log10(signal / noise))
