"""Teachers of semantic distillation: frozen models that give features at a known rate."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.error_text import message_of
from codec.files import read_json
from codec.interface.fingerprint import weights_digest
from codec.model.config import MelConfig
from codec.model.mel import LogMel
from codec.requirements import install_command

from .frame_grid import FrameGrid, receptive_field
from .whisper_teacher import WhisperTeacher, teacher_precision

DEFAULT_TEACHER = "facebook/hubert-base-ls960"
HUB_FILES = ["config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin"]
HUB_TIMEOUT_SECONDS = 10


class TeacherError(ValueError):
    """A teacher that is missing or unusable; the message names weights and a folder for them."""


class Teacher(Protocol):
    """Frozen model that gives features of speech at a known rate."""

    name: str  # for messages
    sample_rate: int  # of its input, Hz
    grid: FrameGrid  # of its frames on the time axis
    dim: int  # width of a frame

    @property
    def fingerprint(self) -> str:
        """Changes when the features of a recording would."""
        ...

    def num_frames(self, lengths: Tensor) -> Tensor:
        """(B,) int64 samples to (B,) int64 frames, 0 for clips that are too short."""
        ...

    def features(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Compute features without gradient.

        Args:
            waveform: (B, T) float in [-1, 1] at `sample_rate`.
            lengths: (B,) int64 valid samples of each row, best on the CPU; those beyond have no
                influence.

        Returns:
            (B, max(num_frames(lengths)), dim) float32; frames past a row's own are 0.
        """
        ...


class HubertTeacher:
    """Mean of all hidden states of a HuBERT: its embeddings' output and every layer's.

    Rows of different lengths are computed apart, because the group norm of HuBERT's first
    convolution averages over a whole row, padding included.

    Args:
        source: A folder in the transformers layout, or a name on the hub, whose files are taken
            from the local cache when they are there and fetched when not.
        bf16: Multiply in bfloat16 on a CUDA device.

    Raises:
        TeacherError: Transformers is not installed, the weights are neither here nor within
            reach, or they are not a HuBERT.
    """

    def __init__(
        self, source: str | os.PathLike[str] = DEFAULT_TEACHER, *, bf16: bool = False
    ) -> None:
        self.name, self.bf16 = str(source), bf16
        folder = Path(source) if Path(source).is_dir() else _from_hub(self.name)
        self.model = _load_hubert(folder, self.name)
        settings = folder / "preprocessor_config.json"
        extractor = read_json(settings) if settings.is_file() else {}
        self.sample_rate: int = extractor.get("sampling_rate", 16_000)
        self.normalizes: bool = extractor.get("do_normalize", True)
        config = self.model.config
        convolutions = config.conv_kernel, config.conv_stride
        self._field, self._stride = receptive_field(*convolutions)
        self.grid = FrameGrid.of_convolutions(self.sample_rate, *convolutions)
        self.dim: int = config.hidden_size
        self._fingerprint = ""  # computed when it is asked for

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the weights and of the normalisation of their input."""
        if not self._fingerprint:
            about = f"mean of states {self.normalizes}" + (" in bfloat16" if self.bf16 else "")
            self._fingerprint = weights_digest(about, self.model.state_dict())
        return self._fingerprint

    def num_frames(self, lengths: Tensor) -> Tensor:
        """floor((lengths - field) / stride) + 1, 0 below the receptive field."""
        return ((lengths - self._field) // self._stride + 1).clamp(min=0)

    @torch.no_grad()
    def features(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """See `Teacher.features`."""
        self.model.to(waveform.device)
        counts = self.num_frames(lengths)
        features = _zeros(waveform, counts, self.dim)
        for length in lengths[counts > 0].unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            with teacher_precision(waveform.device, bf16=self.bf16):
                valid = self._normalized(waveform[rows, :length].float())
                states = self.model(valid, output_hidden_states=True).hidden_states
            mean = torch.stack([state.float() for state in states]).mean(dim=0)  # (R, frames, dim)
            features[rows, : mean.shape[1]] = mean
        return features

    def _normalized(self, waveform: Tensor) -> Tensor:
        """Zero mean and unit variance a row, when the model was trained on such input."""
        if not self.normalizes:
            return waveform
        centred = waveform - waveform.mean(dim=-1, keepdim=True)
        return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-7).sqrt()


class MfccTeacher:
    """Mel-frequency cepstra with their slopes: a teacher without weights.

    13 mel-frequency cepstral coefficients (0 to 8 kHz, 40 bands, 100 Hz internally) averaged in
    pairs to 50 Hz, with their slopes over five frames, each of the 26 features brought to zero
    mean and unit variance over the clip, so that loudness, microphone and part of the speaker
    drop out. It holds spectral shape, not phonetic knowledge: a stand-in for HuBERT where no
    weights are at hand, and a control for what distillation owes to HuBERT.
    """

    name, fingerprint = "mfcc", "mfcc-1"
    sample_rate, dim = 16_000, 26
    BANDS, HOP, CEPSTRA = 40, 160, 13

    def __init__(self) -> None:
        # a window of 2 x HOP around every hop's middle; two of them make one frame of 20 ms
        self.mel = LogMel(MelConfig(self.sample_rate, 512, self.HOP, self.BANDS, 1e-3, "same"))
        self.grid = FrameGrid.of_hops(self.sample_rate, 2 * self.HOP)
        bands, order = torch.arange(self.BANDS) + 0.5, torch.arange(self.CEPSTRA)[:, None]
        self.cosines = torch.cos(math.pi / self.BANDS * order * bands)

    def num_frames(self, lengths: Tensor) -> Tensor:
        """One frame every 20 ms begun and finished, none in clips under 0.1 s."""
        frames = lengths // (2 * self.HOP)
        return torch.where(frames >= 5, frames, 0)

    @torch.no_grad()
    def features(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """See `Teacher.features`."""
        self.mel.to(waveform.device)
        cosines = self.cosines.to(waveform.device)
        counts = self.num_frames(lengths)
        features = _zeros(waveform, counts, self.dim)
        for count in counts[counts > 0].unique().tolist():
            rows = (counts == count).nonzero()[:, 0]
            mel = self.mel(waveform[rows, : 2 * self.HOP * count])  # (R, M, 2 * count)
            cepstra = F.avg_pool1d(cosines @ mel, 2)  # (R, CEPSTRA, count)
            # least-squares slope over five frames
            slopes = F.pad(cepstra, (2, 2), mode="replicate").unfold(-1, 5, 1)
            slopes = slopes @ torch.arange(-2.0, 3.0, device=mel.device) / 10.0
            both = torch.cat([cepstra, slopes], dim=1).transpose(1, 2)  # (R, count, dim)
            centred = both - both.mean(dim=1, keepdim=True)
            features[rows, :count] = centred / (both.std(dim=1, keepdim=True) + 1e-5)
        return features


def _zeros(waveform: Tensor, counts: Tensor, dim: int) -> Tensor:
    """Features of 0 for rows of `counts` frames, (B, max(counts), dim) float32."""
    frames = max(1, int(counts.max()))
    return waveform.new_zeros(len(waveform), frames, dim, dtype=torch.float32)


def load_teacher(name: str, *, bf16: bool = False) -> Teacher:
    """Load the teacher that `SemanticConfig.teacher` names, with `SemanticConfig.bf16`.

    Raises:
        TeacherError: None is named, it is not there, or it cannot be used.
    """
    if not name:
        raise TeacherError(
            f'semantic.teacher: expected "mfcc", a folder or a hub name such as {DEFAULT_TEACHER}, '
            "got nothing"
        )
    if name == MfccTeacher.name:
        return MfccTeacher()
    folder = Path(name) if Path(name).is_dir() else _from_hub(name)
    if _kind_of(folder) != "whisper":
        return HubertTeacher(name, bf16=bf16)
    try:
        return WhisperTeacher(folder, bf16=bf16)
    except ValueError as error:
        raise TeacherError(str(error)) from error


def _kind_of(folder: Path) -> str | None:
    """The kind of a model in the transformers layout, such as hubert; None where there is none."""
    settings = folder / "config.json"
    return read_json(settings).get("model_type") if settings.is_file() else None


def _from_hub(name: str) -> Path:
    """A hub repository's files, from the local cache or, in bounded time, from the hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    download = partial(snapshot_download, name, allow_patterns=HUB_FILES)
    with suppress(LocalEntryNotFoundError, HFValidationError):
        return Path(download(local_files_only=True))
    try:
        return Path(download(etag_timeout=HUB_TIMEOUT_SECONDS))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise TeacherError(
            f"semantic teacher {name!r}: expected a folder or a name in the local cache or on the "
            f"hub, got neither ({type(error).__name__}). The teacher of the paper is "
            f"{DEFAULT_TEACHER} (about 360 MB): where there is a network, `hf download "
            f"{DEFAULT_TEACHER} --local-dir FOLDER`, then set semantic.teacher to FOLDER; "
            'or use semantic.teacher "mfcc", which needs no weights'
        ) from error


def _load_hubert(folder: Path, name: str) -> Any:
    """The model in eval mode and fp32, without touching the network."""
    try:
        from transformers import HubertModel
    except ImportError as error:
        raise TeacherError(
            f"semantic teacher {name!r} needs transformers: {install_command('transformers')}"
        ) from error
    kind = _kind_of(folder)
    if kind != "hubert":
        raise TeacherError(
            f"{folder}: expected a HuBERT or a Whisper (model_type hubert or whisper in "
            f"config.json), got {kind}"
        )
    try:
        model = HubertModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except (OSError, RuntimeError) as error:
        raise TeacherError(
            f"{folder}: no HuBERT weights that can be loaded; {message_of(error)}"
        ) from error
    return model.eval().requires_grad_(False)
