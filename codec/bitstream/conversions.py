"""Ways to convert files, by name: their suffixes, and how one or several are converted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from codec.audio.io import FORMATS, RECORDINGS
from codec.error_text import reason_of
from codec.model.hh_codec import HHCodec

from .convert import Converted, Pair, decode_recording, encode_recording, reconstruct_recording
from .convert_batch import decode_batch, encode_batch, reconstruct_batch
from .format import SUFFIX
from .open_formats import CODE_SUFFIXES


@dataclass(frozen=True)
class Conversion:
    """A way to convert files.

    Attributes:
        inputs: Suffixes of the files that it reads.
        outputs: Suffixes of the files that it can write.
        suffix: Of outputs in a folder; None keeps what can be written (FLAC) and makes WAV of
            everything else.
        one: Converts one file.
        batch: Converts several recordings of one number of codes, up to a window, at once.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    suffix: str | None
    one: Callable[[HHCodec, Pair], Converted]
    batch: Callable[[HHCodec, Sequence[Pair]], list[Converted]] | None

    def __call__(self, codec: HHCodec, pairs: Sequence[Pair]) -> list[Converted]:
        """Convert files; the error of one is stated in its result and spares the others.

        Args:
            codec: In eval mode.
            pairs: Of recordings with one number of codes, where there are several.
        """
        if len(pairs) > 1 and self.batch is not None:
            try:
                return self.batch(codec, pairs)
            except (ValueError, OSError):
                pass  # one of them; find out which
        results = []
        for pair in pairs:
            try:
                results.append(self.one(codec, pair))
            except (ValueError, OSError) as error:
                results.append(Converted(error=reason_of(error, pair.source)))
        return results


_AUDIO, _CODES = tuple(FORMATS), (SUFFIX,)
CONVERSIONS = {
    "encode": Conversion(RECORDINGS, CODE_SUFFIXES, SUFFIX, encode_recording, encode_batch),
    "decode": Conversion(CODE_SUFFIXES, _AUDIO, ".wav", decode_recording, decode_batch),
    "salvage": Conversion(_CODES, _AUDIO, ".wav", partial(decode_recording, salvaging=True), None),
    "reconstruct": Conversion(RECORDINGS, _AUDIO, None, reconstruct_recording, reconstruct_batch),
}
