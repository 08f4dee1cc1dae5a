"""Score files: log-likelihoods of the tokens of recordings, as a language model gives them.

A score file holds {"path", "log_likelihoods": [nats of each token], "seconds"} a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from codec.error_text import message_of
from codec.files.json_lines import appending, iter_json_lines, read_json_lines
from eval.sound import sound_digest

from .pairs import LikelihoodPair


@runtime_checkable
class Scorer(Protocol):
    """A language model with its codec: waveform to log-likelihoods of its tokens."""

    def log_likelihoods(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """Score a waveform (T,) at `sample_rate` Hz: nats of each token in order, (S,).

        Tokens lie evenly over the recording: token n begins at n / S of its length.
        """
        ...


@dataclass(frozen=True, eq=False)
class TokenScores:
    """Likelihood of one recording."""

    log_likelihoods: np.ndarray  # (S,) nats of each token, S > 0
    seconds: float  # length of the recording

    def __post_init__(self) -> None:
        values = np.asarray(self.log_likelihoods, dtype=np.float64)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ValueError(f"expected finite log-likelihoods (S,), S > 0, got {values.shape}")
        if not self.seconds > 0:
            raise ValueError(f"expected a length above 0 s, got {self.seconds}")


def score_recordings(
    pairs: Sequence[LikelihoodPair],
    scorer: Scorer,
    path: Path,
    *,
    read: Callable[[Path], tuple[np.ndarray, int]],
    notify: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Score every recording of the pairs once and write the score file.

    Recordings that are in it already, as they are, are kept, so that a run that was killed goes on.
    One that cannot be read or scored is written with its reason.

    Args:
        pairs: Pairs.
        scorer: The model.
        path: Score file; appended to.
        read: Path to (waveform (T,), sample rate in Hz).
        notify: Called after each recording with the numbers of those done and of all.
    """
    known = read_json_lines(path, torn="drop", missing_ok=True)
    have = {row["path"]: row.get("audio") for row in known if "log_likelihoods" in row}
    # A recording may be in several pairs.
    wanted = list(dict.fromkeys(audio for pair in pairs for audio in (pair.pos, pair.neg)))
    with appending(path) as append:
        for number, audio in enumerate(wanted, start=1):
            digest = sound_digest(audio)
            # A score file of an earlier version, or of other programs, has no digests.
            if have.get(str(audio), "") not in (None, digest):
                append({**_scored(audio, scorer, read), "audio": digest})
            notify(number, len(wanted))
    return path


def _scored(
    audio: Path, scorer: Scorer, read: Callable[[Path], tuple[np.ndarray, int]]
) -> dict[str, Any]:
    """Row of a score file."""
    try:
        waveform, rate = read(audio)
        scores = TokenScores(scorer.log_likelihoods(waveform, rate), len(waveform) / rate)
    except (ValueError, OSError, RuntimeError) as error:
        return {"path": str(audio), "reason": message_of(error)}
    values = [float(f"{value:.9g}") for value in scores.log_likelihoods]
    return {"path": str(audio), "log_likelihoods": values, "seconds": scores.seconds}


def read_scores(path: Path) -> tuple[dict[str, TokenScores], dict[str, str]]:
    """Read scores and reasons of failure by path; the last row of a path counts.

    A recording that is no longer the one that was scored has a reason and no score.

    Raises:
        ValueError: No such file, or a row that is neither.
    """
    if not path.is_file():
        raise ValueError(f"expected a score file (JSON lines), got {path}")
    scores: dict[str, TokenScores] = {}
    reasons: dict[str, str] = {}
    # A recording that failed is tried again by the next run, which adds a row.
    digests: dict[str, Any] = {}
    for number, row in iter_json_lines(path):
        name = str(row["path"]) if "path" in row else None
        if name is None or not ({"log_likelihoods", "seconds"} <= row.keys() or "reason" in row):
            raise ValueError(
                f"{path}:{number}: expected path with log_likelihoods and seconds, or with reason, "
                f"got {row!r:.80}"
            )
        digests[name] = row.get("audio")
        if "log_likelihoods" in row:
            try:
                values = np.asarray(row["log_likelihoods"], dtype=np.float64)
                scores[name] = TokenScores(values, float(row["seconds"]))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}:{number}: {error}") from error
            reasons.pop(name, None)
        else:
            reasons[name] = str(row["reason"])
            scores.pop(name, None)
    for name in [name for name in scores if _is_other(name, digests[name])]:
        del scores[name]
        reasons[name] = "it is another recording than the one that was scored"
    return scores, reasons


def _is_other(name: str, digest: str | None) -> bool:
    """True if a recording that is here is not the one of a digest."""
    # Scores of other programs have no digest, and those of another machine no recordings here.
    return digest is not None and Path(name).is_file() and sound_digest(name) != digest
