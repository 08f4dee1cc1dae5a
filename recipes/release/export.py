"""A trained codec or language model -> the small folder that is part of the package.

    python -m recipes.release.export codec runs/new/train_codec/model codec/pretrained/hh-mini-24k \
        --same-codes-as hh-mini-24k
    python -m recipes.release.export slm runs/new/train_slm/model slm/pretrained/hh-mini-slm \
        --voice kathleen --precision int8

Weights are rounded here, once, and loaded as they are. A codec that replaces an earlier one of the
same codes decodes the codes stored for that one, too. A language model is bound to the codes of the
codec that it is shipped with. Model cards and pictures in the folder stay.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from codec import HHCodec
from codec.checks import require
from codec.command_line import DONE, HelpFormatter, ShowVersion, exit_status
from codec.files import whole_file
from slm import SpeechLM
from slm.model.int8_weights import PRECISIONS, compact_weights, expanded_weights
from slm.synthesis.voices import load_voices, save_voices
from slm.text.tokenizer import load_tokenizer

CODEC = "hh-mini-24k"
CONFIG, WEIGHTS = "config.yaml", "model.safetensors"
# Files of a language model's folder beside its card and pictures.
MODEL_FILES = {CONFIG, WEIGHTS, "voices.json", "lexicon.xz", "text.model"}


def export_codec(source: Path | str, target: Path, same_codes_as: str | None) -> dict[str, Any]:
    """Write a codec with float16 weights.

    Args:
        source: Model folder.
        target: Folder to write to; its name becomes the model's.
        same_codes_as: A codec whose codes this one must reproduce bit for bit; None for new codes.

    Raises:
        ValueError: No codec, or one of other codes.
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


def export_slm(
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
        codec: The codec that it is shipped with.
        voices: Names of those to keep; the first is the default of the command line.
        precision: Of the weights, see `slm.model.int8_weights`.

    Raises:
        ValueError: No language model of this codec's codes, or one without such a voice.
    """
    lm = SpeechLM.from_pretrained(source, fold=False)  # code tables stay small
    names = HHCodec.from_pretrained(codec).code_fingerprints
    if lm.config.codec_fingerprint not in names:
        raise ValueError(
            f"{source}: expected a language model of codes {' or '.join(names)} of {codec}, got "
            f"one of codec {lm.config.codec_fingerprint}"
        )
    known = load_voices(source, lm.config.codec_fingerprint)
    unknown = sorted(set(voices) - known.keys())
    require(not unknown, "voices", f"some of {sorted(known)}", unknown)
    tensors = compact_weights(lm, precision)
    config = replace(lm.config, codec_fingerprint=names[0])
    target.mkdir(parents=True, exist_ok=True)
    written = {CONFIG, WEIGHTS, load_tokenizer(source).save(target).name}
    if voices:
        chosen = {name: known[name] for name in voices}
        written.add(save_voices(target, chosen, names[0], voices[0]).name)
    # Files of an earlier model in the same folder would be loaded with this one.
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
    """Folder of a model, and its size by file."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    sizes = {path.name: path.stat().st_size for path in files}
    return {"folder": str(folder), "bytes": sum(sizes.values()), "files": sizes}


def main(argv: Sequence[str] | None = None) -> int:
    """Export one model; returns the exit status."""
    program = "python -m recipes.release.export"
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action=ShowVersion)
    kinds = parser.add_subparsers(dest="kind", required=True)
    codec, slm = (
        kinds.add_parser(name, help=what, description=what, formatter_class=HelpFormatter)
        for name, what in (
            ("codec", "round a codec's weights to half precision, and check its codes"),
            ("slm", "round a language model's weights, with its tokenizer and some voices"),
        )
    )
    for each in (codec, slm):
        each.add_argument("source", type=Path, help="model folder")
        each.add_argument("target", type=Path, help="folder to write to")
    codec.add_argument("--same-codes-as", help="codec whose codes this one must reproduce")
    slm.add_argument("--codec", default=CODEC, help="codec that it is shipped with")
    slm.add_argument("--voice", action="append", default=[], help="to keep, the first by default")
    slm.add_argument("--precision", choices=PRECISIONS, default="fp16", help="of the weights")
    arguments = parser.parse_args(argv)

    def work() -> int:
        source, target = arguments.source, arguments.target
        if arguments.kind == "codec":
            report = export_codec(source, target, arguments.same_codes_as)
        else:
            report = export_slm(
                source,
                target,
                codec=arguments.codec,
                voices=arguments.voice,
                precision=arguments.precision,
            )
        print(json.dumps(report, indent=2))
        return DONE

    return exit_status(work)


if __name__ == "__main__":
    raise SystemExit(main())
