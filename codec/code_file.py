"""One recording as codes on disk: a safetensors file that names the codec it belongs to."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

SUFFIX = ".safetensors"
FORMAT = "hh-codec codes 1"
CODES = "codes"


class CodeFileError(ValueError):
    """A code file that is not one, is damaged, or belongs to another codec."""


@dataclass(frozen=True)
class CodeFile:
    """Codes of one recording and what is needed to turn them back into it.

    On disk a tensor `codes` and, as metadata, `format` and the other fields as decimal text.

    Attributes:
        codes: (L,) uint16, L = ceil(num_samples / hop_length).
        num_samples: length of the recording at `sample_rate`.
        sample_rate: of the codec, Hz.
        hop_length: samples per code.
        codec_fingerprint: of the codec that made the codes, the only one that can decode them.

    Raises:
        CodeFileError: the fields do not fit together.
    """

    codes: NDArray[np.uint16]
    num_samples: int
    sample_rate: int
    hop_length: int
    codec_fingerprint: str

    def __post_init__(self) -> None:
        if self.codes.ndim != 1 or self.codes.dtype != np.uint16:
            raise CodeFileError(
                f"expected codes (L,) of uint16, got {self.codes.dtype} {self.codes.shape}"
            )
        for name in ("num_samples", "sample_rate", "hop_length"):
            if getattr(self, name) < 1:
                raise CodeFileError(f"expected {name} >= 1, got {getattr(self, name)}")
        expected = -(-self.num_samples // self.hop_length)
        if len(self.codes) != expected:
            raise CodeFileError(
                f"expected {expected} codes for {self.num_samples} samples, got {len(self.codes)}"
            )

    @property
    def duration(self) -> float:
        """Length of the recording, s."""
        return self.num_samples / self.sample_rate

    def check_codec(self, fingerprint: str) -> None:
        """Refuse to be decoded by another codec.

        Raises:
            CodeFileError: naming both fingerprints and the remedy.
        """
        if fingerprint != self.codec_fingerprint:
            raise CodeFileError(
                f"the codes were made by codec {self.codec_fingerprint}, got codec {fingerprint}; "
                "give the codec that made them, or encode the recording again"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, which appears only when it is whole.

        Args:
            path: ends in .safetensors; its folder is made when needed.

        Raises:
            CodeFileError: another suffix.
            OSError: the disk refused; no file is left behind.
        """
        path = Path(path)
        if path.suffix.lower() != SUFFIX:
            raise CodeFileError(f"{path}: expected a name ending in {SUFFIX}")
        metadata = {"format": FORMAT, "codec_fingerprint": self.codec_fingerprint}
        for name in ("num_samples", "sample_rate", "hop_length"):
            metadata[name] = str(getattr(self, name))
        content = save({CODES: np.ascontiguousarray(self.codes)}, metadata)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            # mkstemp makes files that only their owner may read
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CodeFile:
        """Read what `save` wrote.

        Raises:
            CodeFileError: the file is damaged or holds something else.
            OSError: the file is missing or cannot be opened.
        """
        path = Path(path)
        try:
            with safe_open(path, "np") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT or list(file.keys()) != [CODES]:
                    raise CodeFileError(
                        f"expected a file of format {FORMAT!r}, got {metadata.get('format')!r}"
                    )
                return cls(
                    codes=file.get_tensor(CODES),
                    num_samples=int(metadata["num_samples"]),
                    sample_rate=int(metadata["sample_rate"]),
                    hop_length=int(metadata["hop_length"]),
                    codec_fingerprint=metadata["codec_fingerprint"],
                )
        except KeyError as error:
            raise CodeFileError(f"{path}: expected metadata {error}, got {metadata}") from error
        except (SafetensorError, ValueError) as error:
            raise CodeFileError(f"{path}: {error}; encode the recording again") from error
