"""Codes of `.hhc` files compressed by a language model, and back, without loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.compressed import CompressedBlock, CompressedRecording, codes_checksum
from codec.bitstream.format import BitstreamError, CodedRecording

from .arithmetic_coding import ArithmeticDecoder, ArithmeticEncoder
from .code_model import CodeModel, CodePredictor


def compress(
    model: CodeModel, recording: CodedRecording, *, engine: str | None = None
) -> CompressedRecording:
    """Compress the codes of a recording, and decompress them once to see that they come back.

    Args:
        model: Of the codes' codec.
        recording: Codes and their header.
        engine: "torch" or "native"; None for the fastest here.

    Raises:
        ValueError: A model of another codec, an engine that cannot run here, or codes that did not
            come back.
    """
    check_codec(model, recording)
    name = engine or model.best_engine
    # A predictor reads what it has coded: the next block is predicted from those before it.
    predictor, blocks = model.predictor(name), []
    for codes in _parts(recording.codes, recording.header.block_codes):
        payload = _encoded(predictor, codes)
        blocks.append(CompressedBlock(len(codes), codes_checksum(codes), payload))
    made = CompressedRecording(
        recording.header, model.fingerprint, name, tuple(blocks), recording.num_samples
    )
    # Before anything is written: a lossless file that cannot be read back would lose speech.
    back = decompress(model, made)
    if not np.array_equal(back.codes, recording.codes):
        raise ValueError("expected codes that come back, got others: nothing was written")
    return made


def decompress(model: CodeModel, recording: CompressedRecording) -> CodedRecording:
    """Restore the codes of a recording, exactly.

    Raises:
        BitstreamError: Another language model than the one that compressed them, or a checksum that
            does not fit: this kind of machine computes other probabilities.
        ValueError: The engine cannot run here.
    """
    if recording.model_fingerprint != model.fingerprint:
        raise BitstreamError(
            f"the codes were compressed by language model {recording.model_fingerprint}, got "
            f"{model.fingerprint}; give the model that compressed them (--lm)"
        )
    predictor = model.predictor(recording.engine)
    parts = [np.zeros(0, dtype=np.uint16)]
    for number, block in enumerate(recording.blocks):
        codes = _decoded(predictor, block)
        # Probabilities that differ in one bit between machines derail all codes that follow.
        if codes_checksum(codes) != block.checksum:
            raise BitstreamError(
                f"block {number} does not come back: this kind of machine computes other "
                "probabilities than the one that compressed it; decompress it there",
                (number,),
            )
        parts.append(codes)
    return CodedRecording(recording.header, np.concatenate(parts), recording.num_samples)


def check_codec(model: CodeModel, recording: CodedRecording) -> None:
    """Refuse a language model of another codec.

    Raises:
        BitstreamError: Naming both codecs.
    """
    made, known = recording.header.codec_fingerprint, model.config.codec_fingerprint
    if made != known or recording.header.codebook_size != model.codebook_size:
        raise BitstreamError(
            f"the codes were made by codec {made}, the language model is of codec {known}; "
            "give a language model of the codes' codec (--lm)"
        )


def code_entropy(recordings: Sequence[NDArray[np.integer]]) -> float:
    """Entropy of the codes' own frequencies, bits a code: what no code-by-code coder beats."""
    _, counts = np.unique(np.concatenate(list(recordings)), return_counts=True)
    shares = counts / counts.sum()
    # + 0.0 makes of -0.0, the entropy of a single code, a plain 0.
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def _parts(codes: NDArray[np.uint16], size: int) -> Iterator[NDArray[np.uint16]]:
    """Codes a block at a time."""
    return (codes[at : at + size] for at in range(0, len(codes), size))


def _encoded(predictor: CodePredictor, codes: NDArray[np.uint16]) -> bytes:
    """The payload of a block; the predictor goes on from block to block."""
    encoder = ArithmeticEncoder()
    for code in codes.tolist():
        ends = np.cumsum(predictor.frequencies())
        start = int(ends[code - 1]) if code else 0
        encoder.encode(start, int(ends[code]) - start, int(ends[-1]))
        predictor.read(code)
    return encoder.finish()


def _decoded(predictor: CodePredictor, block: CompressedBlock) -> NDArray[np.uint16]:
    """The codes of a payload; of a wrong one some codes, too."""
    decoder, codes = ArithmeticDecoder(block.payload), []
    for _ in range(block.count):
        ends = np.cumsum(predictor.frequencies())
        total = int(ends[-1])
        # A payload of other probabilities may point past the last symbol.
        target = min(max(decoder.target(total), 0), total - 1)
        code = int(np.searchsorted(ends, target, side="right"))
        start = int(ends[code - 1]) if code else 0
        decoder.advance(start, int(ends[code]) - start, total)
        predictor.read(code)
        codes.append(code)
    return np.array(codes, dtype=np.uint16)
