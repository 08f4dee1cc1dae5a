r"""A trained codec or language model -> the small folder that is part of the package.

    python -m recipes.release.export codec runs/new/train_codec/model codec/pretrained/hh-mini-24k \
        --same-codes-as hh-mini-24k
    python -m recipes.release.export slm runs/new/train_slm/model slm/pretrained/hh-mini-slm \
        --voice kathleen --precision int8

Weights are rounded here, once, and loaded as they are. A codec that replaces an earlier one of the
same codes decodes the codes stored for that one, too. A language model is bound to the codes of the
codec that it is shipped with. Model cards and pictures in the folder stay.

`--refine CORPUS` first moves the codebook's entries to the means of the latents that fall on them,
some steps of k-means: reconstruction improves for free, and codes become others, so that a corpus
is encoded and a language model trained after it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from codec import HHCodec
from codec.audio.sources import FolderSource
from codec.checks import require
from codec.command_line import DONE, HelpFormatter, ShowVersion, exit_status, whole_number
from codec.files import replaced_files
from codec.streaming.long_form import WINDOW
from codec.weights import save_tensors
from recipes.corpora.preparation import spread
from slm import SpeechLM
from slm.model.int8_weights import PRECISIONS, compact_weights, expanded_weights
from slm.synthesis.voices import load_voices, save_voices
from slm.text.tokenizer import load_tokenizer

CODEC = "hh-mini-24k"
CONFIG, WEIGHTS = "config.yaml", "model.safetensors"
# Files of a language model's folder beside its card and pictures.
MODEL_FILES = {CONFIG, WEIGHTS, "voices.json", "lexicon.xz", "text.model"}


@dataclass(frozen=True)
class Refinement:
    """Steps of k-means at release.

    Attributes:
        corpus: A manifest of recordings, or a folder of them.
        select: Fields of the manifest and the values they must have.
        clips: At most so many of them, spread evenly; None for all.
        iterations: Steps.
    """

    corpus: str
    select: Mapping[str, Any] = field(default_factory=dict)
    clips: int | None = None
    iterations: int = 5


def export_codec(
    source: Path | str,
    target: Path,
    same_codes_as: str | None,
    refinement: Refinement | None = None,
) -> dict[str, Any]:
    """Write a codec with float16 weights.

    Args:
        source: Model folder.
        target: Folder to write to; its name becomes the model's.
        same_codes_as: A codec whose codes this one must reproduce bit for bit; None for new codes.
        refinement: Steps of k-means on the codebook, which change codes; None for none.

    Raises:
        ValueError: No codec, or one of other codes; codes that are to stay and to be refined.
    """
    if same_codes_as is not None and refinement is not None:
        raise ValueError(
            f"same_codes_as: expected none beside a refined codebook, whose codes are others, got "
            f"{same_codes_as}"
        )
    codec = HHCodec.from_pretrained(source, fold=False)
    codec.load_state_dict(compact_weights(codec, "fp16"))
    errors = {}
    if refinement is not None:
        # On the latents of the rounded encoder; the entries are then rounded too.
        errors = refine_codebook(codec, refinement)
        codec.load_state_dict(compact_weights(codec, "fp16"))
    codec.config = replace(codec.config, name=target.name)
    if same_codes_as is not None:
        codec.keep_codes_of(HHCodec.from_pretrained(same_codes_as, fold=False))
    report = {"fingerprint": codec.fingerprint, "code_fingerprints": codec.code_fingerprints}
    for parameter in codec.parameters():
        parameter.data = parameter.data.half()
    codec.save_pretrained(target)
    parameters = sum(p.numel() for p in codec.parameters())
    return {**report, **errors, "parameters": parameters, **_size(target)}


def refine_codebook(codec: HHCodec, refinement: Refinement) -> dict[str, float]:
    """Run some steps of k-means on a codec's codebook, on the latents of recordings.

    Args:
        codec: In eval mode; its entries are changed in place.
        refinement: Recordings and steps.

    Returns:
        Squared error of quantisation over the variance of the latents, before and after.

    Raises:
        ValueError: No recordings there or too few, or a quantizer without learnt entries.
    """
    codec.quantizer.check_refinable()
    source = FolderSource(refinement.corpus, codec.sample_rate, select=refinement.select)
    latents = []
    for number in spread(range(len(source)), refinement.clips):
        waveform = codec.scaled(torch.from_numpy(source.waveform(number))[None])
        padded = F.pad(waveform, (0, -waveform.shape[1] % codec.hop_length))
        # Longer recordings are encoded in windows, too; attention over an hour fills the memory.
        for window in padded.split(WINDOW * codec.hop_length, dim=1):
            with torch.no_grad():
                latents.append(codec.encoder(window)[0].T)  # (L, D)
    before, after = codec.quantizer.refine(torch.cat(latents), refinement.iterations)
    codec.weights_changed()
    return {"relative_error_before": before, "relative_error": after}


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
    tokenizer = load_tokenizer(source)
    # Files of an earlier model in the same folder would be loaded with this one.
    with replaced_files(target, WEIGHTS, without=MODEL_FILES) as partial:
        tokenizer.save(partial)
        if voices:
            chosen = {name: known[name] for name in voices}
            save_voices(partial, chosen, names[0], voices[0])
        config.save(partial / CONFIG)
        save_tensors(tensors, partial / WEIGHTS)
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


def _refinement(arguments: argparse.Namespace) -> Refinement | None:
    """Changes of the codebook that the command line asks for."""
    if arguments.refine is None:
        return None
    split = arguments.refine_split
    select = {} if split is None else {"split": split}
    return Refinement(arguments.refine, select, arguments.refine_clips, arguments.kmeans_steps)


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
    codec.add_argument("--refine", metavar="CORPUS", help="recordings to move the codebook to")
    codec.add_argument("--refine-split", help="of the manifest, the whole of it by default")
    codec.add_argument(
        "--refine-clips", type=whole_number(1), help="at most so many, all by default"
    )
    codec.add_argument("--kmeans-steps", type=whole_number(0), default=5, help="of the refinement")
    slm.add_argument("--codec", default=CODEC, help="codec that it is shipped with")
    slm.add_argument("--voice", action="append", default=[], help="to keep, the first by default")
    slm.add_argument("--precision", choices=PRECISIONS, default="fp16", help="of the weights")
    arguments = parser.parse_args(argv)

    def work() -> int:
        source, target = arguments.source, arguments.target
        if arguments.kind == "codec":
            report = export_codec(source, target, arguments.same_codes_as, _refinement(arguments))
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
