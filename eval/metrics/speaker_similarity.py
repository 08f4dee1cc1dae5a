"""Speaker similarity: cosine of speaker vectors, with the corpus's own floor and ceiling.

A cosine means nothing by itself: between strangers it is far above 0, within a voice below 1. Every
mean is given with the band of its corpus.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from eval.protocols import FigureInfo, Item, Metric, MetricInfo, Need, Score, ScoredItem
from eval.sound import checked_part, resampled

from .lag import shared
from .speaker_encoders import RATE, SpeakerEncoder

Against = Literal["reference", "prompt"]
# Clips compared with each other at most; pairs grow with the square.
MOST_CLIPS = 2000
NARROWER = 0.75  # of a recording's bandwidth; below it an estimate is told apart


@dataclass(frozen=True)
class SimilarityMetric(Metric):
    """Cosine of the speaker vectors of the estimate and of a recording of the voice.

    Args:
        encoder: Maps waveforms to vectors.
        against: "reference" for reconstruction; "prompt" for speech in the voice of a prompt.
        family: Begins the id; "_prompt" is added for prompts.
    """

    encoder: SpeakerEncoder
    against: Against = "reference"
    family: str = "speaker_sim"

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        needs: frozenset[Need] = frozenset({"estimate", self.against})
        return MetricInfo(
            id=f"{self._name}.{self.encoder.id}",
            definition=f"cosine of {self.encoder.id} speaker vectors of the estimate and the "
            f"{self.against} at 16 kHz, silence not cut; band: cosines of different "
            f"{self.against}s of one speaker and of two, by the speakers named",
            needs=needs,
            figures=(FigureInfo(self._name, higher_is_better=True),),
            sample_rate=RATE,
            packages=self.encoder.packages,
            weights=self.encoder.weights,
            alternative=self.encoder.alternative,
            is_large=self.encoder.is_large,
        )

    @property
    def _name(self) -> str:
        """Family of the id, also the figure's name."""
        return self.family if self.against == "reference" else f"{self.family}_prompt"

    def prepare(self) -> None:
        """Load the encoder."""
        self.encoder.prepare()

    def score(self, item: Item) -> Score:
        """The cosine, from -1 to 1; see `Metric`. Keeps the recording's vector for the band."""
        ours = self._voice(item, "estimate")
        theirs = self._voice(item, self.against)
        packed = _packed(theirs)
        bands = [self._bandwidth(item, part) for part in ("estimate", self.against)]
        details = {"bandwidth": " of ".join(f"{band / 1000:.1f}" for band in bands) + " kHz"}
        if bands[0] < NARROWER * bands[1]:
            details["narrower band"] = f"similarity is of voices up to {bands[0] / 1000:.1f} kHz"
        stored = {"voice": packed}
        if self.against == "prompt":
            stored["estimate"] = _packed(ours)
        # Rounding takes a voice beside itself above 1.
        cosine = float(np.clip(ours @ theirs, -1.0, 1.0))
        return Score({self._name: cosine}, details, stored)

    def _bandwidth(self, item: Item, part: Need) -> float:
        """Bandwidth of one waveform of the item, computed once for all encoders."""

        def compute() -> float:
            return bandwidth(resampled(checked_part(item, part), item.sample_rate, RATE), RATE)

        return shared(item, ("bandwidth", RATE, part), compute)

    def _voice(self, item: Item, part: Need) -> np.ndarray:
        """Vector of one waveform of the item, computed once for all metrics of this encoder."""

        def compute() -> np.ndarray:
            samples = resampled(checked_part(item, part), item.sample_rate, RATE)
            return self.encoder.embed(samples)

        return shared(item, ("voice", self.encoder.id, part), compute)

    def corpus(self, items: Sequence[ScoredItem]) -> dict[str, Any]:
        """Compute the band of the corpus: similarity of one speaker's recordings, and of two's.

        Returns:
            {"same_speaker": {"mean", "p5", "p95", "pairs"}, "different_speaker": likewise,
            "equal_error_rate", "threshold"}, numbers None where there is no pair; the threshold
            is the cosine at which as many pairs of one speaker fall below as of two rise above.
            "narrower_band" counts the items whose estimate lacks a quarter or more of the other's
            band: encoders pay that little heed. Against prompts, "margin" is {"mean", "p5", "p95",
            "pairs"} of the cosine to the own prompt less the mean cosine to the other voices'
            prompts, over items: 0 for speech that owes its prompt nothing. Where an item names no
            speaker it is "margin_unnamed": other prompts may be of the same voice, which makes it
            too small, down to 0 for a list of one voice.
        """
        band = speaker_band(
            [item.score.stored["voice"] for item in items], [item.speaker for item in items]
        )
        narrower = sum("narrower band" in item.score.details for item in items)
        found = {**band, "narrower_band": narrower}
        if self.against == "prompt":
            # Scores that were kept from an earlier release have no vector of the estimate.
            whole = [item for item in items if "estimate" in item.score.stored]
            speakers = [item.speaker for item in whole]
            found["margin" if all(speakers) else "margin_unnamed"] = prompt_margin(
                [item.score.stored["estimate"] for item in whole],
                [item.score.stored["voice"] for item in whole],
                speakers,
            )
        return found


def bandwidth(waveform: np.ndarray, sample_rate: int) -> float:
    """Compute the upper edge, in Hz, of the last 250 Hz band within 60 dB of the loudest one.

    Args:
        waveform: Samples (T,), 32 ms or more.
        sample_rate: Hz.

    Returns:
        0.0 for silence.
    """
    size = 8 * sample_rate // 250  # eight bins a band
    # Whole frames alone: the edge of a padded one would fill the spectrum.
    frames = waveform[: len(waveform) // size * size].reshape(-1, size) * np.hanning(size)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1))).mean(axis=0)[1:]
    bands = power[: len(power) // 8 * 8].reshape(-1, 8).mean(axis=1)
    if not bands.any():
        return 0.0
    last = int(np.flatnonzero(bands >= 1e-6 * bands.max())[-1])
    return (last + 1) * 8 * sample_rate / size


def speaker_band(voices: Sequence[str], speakers: Sequence[str]) -> dict[str, Any]:
    """Compare recordings within and between speakers; see `SimilarityMetric.corpus`.

    Args:
        voices: Base64 of float16 vectors (D,). One that occurs twice is the same recording and
            counts once.
        speakers: Names, "" where unknown: such clips are left out.
    """
    known = dict.fromkeys((v, s) for v, s in zip(voices, speakers, strict=True) if s)
    # Spread over the corpus, so that a large one is not measured on its first speakers alone.
    picked = list(known)[:: max(1, -(-len(known) // MOST_CLIPS))]
    same = different = np.zeros(0)
    if picked:
        vectors = _vectors([voice for voice, _ in picked])
        names = np.array([speaker for _, speaker in picked])
        # Every pair once, without a recording beside itself.
        first, second = np.triu_indices(len(picked), k=1)
        cosines, alike = (vectors @ vectors.T)[first, second], names[first] == names[second]
        same, different = cosines[alike], cosines[~alike]
    rate, threshold = equal_error(same, different)
    return {
        "same_speaker": _spread(same),
        "different_speaker": _spread(different),
        "equal_error_rate": rate,
        "threshold": threshold,
    }


def prompt_margin(
    estimates: Sequence[str], prompts: Sequence[str], speakers: Sequence[str]
) -> dict[str, Any]:
    """Compare generated voices with their own prompts and with others'; see `corpus`.

    Args:
        estimates: Base64 of float16 vectors (D,), one an item.
        prompts: The same of their prompts; equal ones are one recording and count once.
        speakers: Names of the items' voices, "" where unknown: a prompt is another voice's where it
            is another recording and not of the same name.
    """
    if not estimates:
        return _spread(np.zeros(0))
    # One column a recording, however many items it prompts.
    column = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    own = np.array([column[prompt] for prompt in prompts])  # (N,)
    cosines = _vectors(estimates) @ _vectors(list(column)).T  # (N, P)
    names, known = np.array(speakers), np.array([bool(name) for name in speakers])
    margins = []
    for index in range(len(own)):
        is_other = np.ones(len(column), dtype=bool)
        is_other[own[known & (names == names[index])]] = False
        is_other[own[index]] = False
        if is_other.any():
            margins.append(cosines[index, own[index]] - cosines[index, is_other].mean())
    return _spread(np.array(margins))


def equal_error(same: np.ndarray, different: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Find the rate and cosine where misses equal false alarms; None without pairs of both."""
    if not same.size or not different.size:
        return None, None
    same, different = np.sort(same), np.sort(different)
    candidates = np.unique(np.concatenate((same, different)))
    misses = np.searchsorted(same, candidates, side="left") / same.size
    alarms = 1.0 - np.searchsorted(different, candidates, side="left") / different.size
    best = int(np.argmin(np.abs(misses - alarms)))
    return round(float(misses[best] + alarms[best]) / 2.0, 4), round(float(candidates[best]), 4)


def _packed(voice: np.ndarray) -> str:
    """Base64 of a vector (D,) in half precision, as scores are stored."""
    return base64.b64encode(voice.astype("<f2").tobytes()).decode()


def _vectors(voices: Sequence[str]) -> np.ndarray:
    """Vectors of norm 1, float64 (N, D), of `_packed` ones."""
    decoded = [np.frombuffer(base64.b64decode(voice), "<f2") for voice in voices]
    vectors = np.stack(decoded).astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _spread(cosines: np.ndarray) -> dict[str, float | int | None]:
    """Mean and quantiles of cosines (N,)."""
    if not cosines.size:
        return {"mean": None, "p5": None, "p95": None, "pairs": 0}
    low, high = np.quantile(cosines, [0.05, 0.95])
    numbers = {"mean": float(cosines.mean()), "p5": float(low), "p95": float(high)}
    # Four digits: vectors are kept in half precision.
    return {**{k: round(v, 4) for k, v in numbers.items()}, "pairs": int(cosines.size)}
