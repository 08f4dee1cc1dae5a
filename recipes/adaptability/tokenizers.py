"""Tokenizers from a few lines of YAML: our codecs, k-means on mels, codecs of `transformers`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from codec import HHCodec
from codec.checks import one_of, require
from codec.devices import usable_device
from eval.baselines.kmeans import CONFIG, KMeansSettings, KMeansTokenizer, train_kmeans
from eval.baselines.neural_codecs import PEERS, TransformersTokenizer
from eval.baselines.token_streams import TokenizerRecoder, fit_length
from eval.protocols import Recoded, Tokenizer
from eval.sound import resampled

# `trained`: a codec that a recipe trains for the comparison, see recipes/comparisons/adapt.py.
KINDS = ("hh", "trained", "kmeans", *PEERS)


@dataclass
class TokenizerConfig:
    """One tokenizer of a comparison."""

    # hh: a codec of this repository; trained: one that a recipe trains on the comparison's own
    # clips; kmeans: trained on the spot; else a codec of transformers.
    kind: str = "hh"
    # hh: name of a bundled codec, folder or hub repository; trained: YAML file of the recipe; of
    # transformers: hub name or folder (null = the published weights); kmeans: folder of a saved
    # one (null = train it).
    source: str | None = None
    # Left out, and named, where its weights are not there; else they are asked for.
    optional: bool = False
    # First K codebooks of a residual codec; null = that of eval/baselines/neural_codecs.py.
    num_codebooks: int | None = None
    # kmeans: centroids, and mel frames (93.75 Hz) a code.
    codebook_size: int = 1024
    stack: int = 4

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        if self.kind == "trained":
            require(self.source is not None, "source", "the YAML file of a recipe", self.source)


class HHTokenizer:
    """`eval.protocols.Tokenizer` of one of our codecs: one codebook.

    Args:
        source: Name of a bundled codec, model folder or hub repository.
        name: As a table shows it.
        device: Of the codec.
        voiced: Whether the codec may have a voice code, which `decode` then needs.
        search: As of `HHCodec.encode`.

    Raises:
        ValueError: The codec has a voice code, and must not.
    """

    num_codebooks = 1

    def __init__(
        self,
        source: str,
        name: str = "",
        device: str = "cpu",
        *,
        voiced: bool = False,
        search: int = 0,
    ) -> None:
        self._device = usable_device(device)
        self.codec = HHCodec.from_pretrained(source).to(self._device)
        if not voiced:
            self.codec.config.voice.refuse("a tokenizer, whose tokens are codes alone")
        self.name = name or Path(source).name
        self.fingerprint = self.codec.fingerprint + (f" search {search}" if search else "")
        self._search = search
        self.sample_rate = self.codec.sample_rate
        self.frame_rate = self.tokens_per_second = self.codec.frame_rate
        self.codebook_size = self.codec.codebook_size

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Encode a waveform (T,) float in [-1, 1] as codes (1, L) int64."""
        samples = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))
        codes, _ = self.codec.encode(samples[None].to(self._device), search=self._search)
        return codes.cpu().numpy()

    def decode(
        self, codes: np.ndarray, num_samples: int, voice: torch.Tensor | None = None
    ) -> np.ndarray:
        """Decode codes (1, L) to (num_samples,) float32, padded with zeros past the codes.

        `voice` (1, K) is that of a codec with a voice code, None of another.
        """
        most = codes.shape[1] * self.codec.hop_length
        lengths = torch.tensor([min(num_samples, most)])
        rows = torch.from_numpy(np.asarray(codes, dtype=np.int64)).to(self._device)
        waveform, _ = self.codec.decode(rows, lengths=lengths, voice=voice)
        fitted = np.zeros(num_samples, dtype=np.float32)
        fitted[: waveform.shape[1]] = waveform[0].cpu().numpy()[:num_samples]
        return fitted


class HHRecoder(TokenizerRecoder):
    """`eval.protocols.Recoder` of one of our codecs; a voice code counts among the bits of a clip.

    Args:
        source: Name of a bundled codec, model folder or hub repository.
        search: As of `HHCodec.encode`.
    """

    def __init__(self, source: str, search: int = 0) -> None:
        self._ours = HHTokenizer(source, voiced=True, search=search)
        super().__init__(self._ours)

    def recode(self, waveform: np.ndarray, sample_rate: int) -> Recoded:
        """Encode and decode a waveform (T,), with the voice code where there is one."""
        codec = self._ours.codec
        if not codec.has_voice:
            return super().recode(waveform, sample_rate)
        own = np.asarray(resampled(waveform, sample_rate, codec.sample_rate), dtype=np.float32)
        codes = self._ours.encode(own)
        decoded = self._ours.decode(codes, len(own), codec.encode_voice(own))
        back = resampled(decoded, codec.sample_rate, sample_rate)
        bits = codes.size * (codec.codebook_size - 1).bit_length() + codec.config.voice.bits
        return Recoded(fit_length(back, len(waveform)), bits, codes)


def make_tokenizer(
    name: str,
    config: TokenizerConfig,
    *,
    folder: Path | None = None,
    waveforms: Callable[[int], Iterable[np.ndarray]] | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Tokenizer:
    """Make the tokenizer of some settings.

    Args:
        name: As a table shows it.
        config: Settings.
        folder: Of a trained k-means tokenizer: it is loaded from there, or saved there.
        waveforms: Training recordings at the rate asked for; k-means needs them.
        seed: Of k-means.
        device: Of a codec's network; k-means stays on the CPU.

    Raises:
        ValueError: Weights or a device that are not there, k-means without recordings, or a folder
            with a tokenizer of other settings.
    """
    if config.kind == "trained":
        raise ValueError(
            f"{name}: expected a codec that is there, got the recipe {config.source}, which "
            "recipes.comparisons.adapt trains; give kind: hh and its model folder"
        )
    if config.kind == "hh":
        return HHTokenizer(config.source or name, name, device)
    if config.kind != "kmeans":
        return TransformersTokenizer(
            config.kind,
            config.source,
            num_codebooks=config.num_codebooks,
            name=name,
            device=device,
        )
    settings = KMeansSettings(codebook_size=config.codebook_size, stack=config.stack, seed=seed)
    if config.source is not None:
        return KMeansTokenizer.load(config.source)
    if folder is not None and (folder / CONFIG).is_file():
        found = KMeansTokenizer.load(folder)
        if found.settings != settings:
            raise ValueError(
                f"{folder}: expected a tokenizer of {settings}, got {found.settings}; choose "
                "another run=... or delete it"
            )
        return found
    if waveforms is None:
        raise ValueError(f"{name}: expected recordings to train k-means on, or source=FOLDER")
    made = train_kmeans(waveforms(settings.sample_rate), settings, name=name)
    if folder is not None:
        made.save(folder)
    return made


def missing_weights(name: str, config: TokenizerConfig) -> str:
    """Say why a tokenizer cannot be loaded here, "" where it can."""
    try:
        make_tokenizer(name, config)
    except ValueError as error:
        return " ".join(str(error).split())
    return ""
