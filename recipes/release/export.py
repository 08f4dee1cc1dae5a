"""A trained codec or language model -> the small folder under which it comes with the package.

    python -m recipes.release.export codec runs/new/train_codec/model codec/pretrained/hh-mini-24k \
        --same-codes-as hh-mini-24k
    python -m recipes.release.export slm runs/new/train_slm/model slm/pretrained/hh-mini-slm \
        --voice kathleen --precision int8

Weights are rounded here, once: what is loaded afterwards is what was rounded. A codec that takes
the place of an earlier one of the same codes speaks what was stored for that one, too. A language
model is bound to the codes of the codec that it ships beside. Model cards and pictures in the
folder are left alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from codec import HHCodec
from codec.files import whole_file
from slm import SpeechLM
from slm.model.int8_weights import PRECISIONS, compact_weights, expanded_weights
from slm.synthesis.voices import load_voices, save_voices
from slm.text.tokenizer import load_tokenizer

CODEC = "hh-mini-24k"
CONFIG, WEIGHTS = "config.yaml", "model.safetensors"
# What a language model's folder may hold beside its card and pictures.
MODEL_FILES = {CONFIG, WEIGHTS, "voices.json", "lexicon.xz", "text.model"}


def ship_codec(source: Path | str, target: Path, same_codes_as: str | None) -> dict[str, Any]:
    """Write a codec with float16 weights.

    Args:
        source: Model folder.
        target: Folder to write to; its name becomes the model's.
        same_codes_as: A codec whose codes this one must make, bit for bit; None for new codes.

    Raises:
        ValueError: No codec, or one that makes other codes.
    """
    codec = HHCodec.from_pretrained(source, fold=False)
    codec.load_state_dict(compact_weights(codec, "fp16"))
    codec.config = replace(codec.config, name=target.name)
    if same_codes_as is not None:
        codec.keep_codes_of(HHCodec.from_pretrained(same_codes_as, fold=False))
    report = {"fingerprint": codec.fingerprint, "code_fingerprints": codec.code_fingerprints}
    for parameter in codec.parameters():
        parameter.data = parameter.data.half()
    codec.save_pretrained(target)
    return {**report, "parameters": sum(p.numel() for p in codec.parameters()), **_size(target)}


def ship_slm(
    source: Path | str,
    target: Path,
    *,
    codec: str = CODEC,
    voices: Sequence[str] = (),
    precision: str = "fp16",
) -> dict[str, Any]:
    """Write a language model with its text model and some of its voices.

    Args:
        source: Model folder.
        target: Folder to write to.
        codec: The codec it ships beside.
        voices: Names of those to keep; the command line speaks in the first.
        precision: Of the weights, see `slm.model.int8_weights`.

    Raises:
        ValueError: No language model of this codec's codes, or one without such a voice.
    """
    lm = SpeechLM.from_pretrained(source, fold=False)  # code tables stay small
    names = HHCodec.from_pretrained(codec).code_fingerprints
    if lm.config.codec_fingerprint not in names:
        raise ValueError(
            f"{source} speaks codes of codec {lm.config.codec_fingerprint}, expected one of "
            f"{', '.join(names)}, the names of {codec}"
        )
    known = load_voices(source, lm.config.codec_fingerprint)
    unknown = sorted(set(voices) - known.keys())
    if unknown:
        raise ValueError(f"expected voices of {sorted(known)}, got {unknown}")
    tensors = compact_weights(lm, precision)
    config = replace(lm.config, codec_fingerprint=names[0])
    target.mkdir(parents=True, exist_ok=True)
    written = {CONFIG, WEIGHTS, load_tokenizer(source).save(target).name}
    if voices:
        chosen = {name: known[name] for name in voices}
        written.add(save_voices(target, chosen, names[0], voices[0]).name)
    for name in MODEL_FILES - written:
        (target / name).unlink(missing_ok=True)
    with whole_file(target / CONFIG) as about, whole_file(target / WEIGHTS) as weights:
        save_file(tensors, weights)
        config.save(about)
    before, after = lm.state_dict(), expanded_weights(tensors)
    lost = [(after[name].float() - value).abs().max() for name, value in before.items()]
    return {
        "codec_fingerprint": names[0],
        "parameters": lm.num_parameters,
        "largest_rounding": float(max(lost)),
        **_size(target),
    }


def _size(folder: Path) -> dict[str, Any]:
    """Where it lies, and how large that is."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    sizes = {path.name: path.stat().st_size for path in files}
    return {"folder": str(folder), "bytes": sum(sizes.values()), "files": sizes}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status, 2 for the caller's mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.release.export",
        description="Write a model as it comes with the package.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    codec, slm = kinds.add_parser("codec"), kinds.add_parser("slm")
    for each in (codec, slm):
        each.add_argument("source", type=Path, help="model folder")
        each.add_argument("target", type=Path, help="folder to write to")
    codec.add_argument("--same-codes-as", help="codec whose codes this one must make")
    slm.add_argument("--codec", default=CODEC, help=f"codec that it ships beside ({CODEC})")
    slm.add_argument("--voice", action="append", default=[], help="to keep, the first by default")
    slm.add_argument("--precision", choices=PRECISIONS, default="fp16")
    arguments = parser.parse_args(argv)
    try:
        if arguments.kind == "codec":
            report = ship_codec(arguments.source, arguments.target, arguments.same_codes_as)
        else:
            report = ship_slm(
                arguments.source,
                arguments.target,
                codec=arguments.codec,
                voices=arguments.voice,
                precision=arguments.precision,
            )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
