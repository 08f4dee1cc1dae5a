"""`hh-codec info`: sizes of a codec's parts, rates, and the convention of its mels."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from codec.command_line import DONE, Commands, add_command, print_report

from .options import CODEC_HELP, DEFAULT_CODEC

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from codec.model.hh_codec import HHCodec

# Lengths of the clips whose arithmetic is counted.
COUNTED_CODES, VOCODED_CODES = 64, 8
# Of codecs that take the states of one; its weights are part of their folders.
SPEECH_ENCODER, STATE_RATE = "Whisper encoder, frozen (OpenAI, MIT licence)", 50


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "info",
        run,
        summary="sizes, rates and conventions of a codec",
        examples="examples:\n  hh-codec info hh-mini-24k\n  hh-codec info --preset hh_24khz --json",
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument("name", nargs="?", metavar="CODEC", help="the same as --codec")
    either.add_argument("--codec", metavar="CODEC", default=DEFAULT_CODEC, help=CODEC_HELP)
    either.add_argument("--preset", metavar="NAME", help="built-in size, such as hh_24khz")


def run(arguments: argparse.Namespace) -> int:
    """Print the figures of a trained codec or of a preset, whose weights are not trained."""
    from codec.model.config import CodecConfig
    from codec.model.hh_codec import HHCodec

    if arguments.preset is not None:
        codec = HHCodec(CodecConfig.preset(arguments.preset))
        names = {"fingerprint": None, "code_fingerprint": None, "voice_fingerprint": None}
    else:
        # An empty name, as of a variable of the shell that is not set, is refused as one.
        name = arguments.codec if arguments.name is None else arguments.name
        codec = HHCodec.from_pretrained(name, fold=False)
        names = {
            "fingerprint": codec.fingerprint,
            "code_fingerprint": codec.code_fingerprint,
            "voice_fingerprint": codec.voice_fingerprint,
        }
    report = {**describe(codec), "gmac_per_second": arithmetic(codec), **names}
    print_report(report, as_json=arguments.json)
    return DONE


def parameter_counts(codec: HHCodec, *, folded: bool = False) -> dict[str, int]:
    """Count the trainable parameters of every part, by name.

    `codebook_transform` is that of the coded stage, `training_only` those of the further stages;
    `total` is the sum of all parts, `inference` without what only trains. The frozen codebooks
    (codebook_size * dim values a stage) are not parameters. `voice` is there of codecs with a voice
    code: what reads it, and what modulates the decoder by it.

    Args:
        codec: With or without weight norm.
        folded: Count as if weight norm were removed.
    """
    from codec.layers.weight_norm import count_parameters

    def count(*modules: nn.Module) -> int:
        return sum(count_parameters(module, weight_norm=not folded) for module in modules)

    coded = codec.quantizer.stage(0)
    transform = count(getattr(coded, "code_transform", coded))
    head = count(codec.decoder.upsample, codec.decoder.refine)
    voice = count(*(each for each in (codec.decoder.voice, codec.decoder.film) if each is not None))
    counts = {
        "encoder": count(codec.encoder),
        "codebook_transform": transform,
        "backbone": count(codec.decoder) - head - voice,
        "mel_head": head,
        **({"voice": voice} if codec.has_voice else {}),
        "vocoder": count(codec.vocoder),
    }
    inference = sum(counts.values())
    counts["training_only"] = count(codec.quantizer) - transform
    return {**counts, "inference": inference, "total": inference + counts["training_only"]}


def arithmetic(codec: HHCodec) -> dict[str, float]:
    """Count the 10^9 multiply-adds of every part a second of audio, as `count_macs` does.

    Attention over all codes grows with a clip's length: these are of a clip of 64 codes. The table
    of codes in effect is not counted, which inference computes once. `speech_encoder` is the share
    of the encoder that its Whisper has; `voice` reads a voice code off the encoder's states, which
    are computed once more for it: `encode` counts both. `decode_streamed` is that of a
    `StreamDecoder` with its defaults, which decodes codes again as further ones come.
    """
    import torch

    from codec.bench.codecs import count_macs
    from codec.streaming.stream_decoder import AFTER, BEFORE, CHUNK, CONTEXT

    found: dict[str, float] = {}

    def run(part: str, codes: int, call: Callable[[], Tensor]) -> Tensor:
        made: list[Tensor] = []
        count = count_macs(lambda: made.append(call()))
        found[part] = round(count * codec.frame_rate / codes / 1e9, 4)
        return made[0]

    codec.eval()
    with torch.no_grad():
        latents = run(
            "encoder",
            COUNTED_CODES,
            lambda: codec.encoder(torch.zeros(1, COUNTED_CODES * codec.hop_length)),
        )
        speech = getattr(codec.encoder, "speech", None)
        if speech is not None:
            frames = COUNTED_CODES * codec.config.upsampling
            log_mel = torch.zeros(1, codec.config.mel.n_mels, frames)
            run("speech_encoder", COUNTED_CODES, lambda: speech(log_mel, COUNTED_CODES))
        quantized = codec.quantizer.codebook[None, :COUNTED_CODES].transpose(1, 2)
        run("quantizer", COUNTED_CODES, lambda: codec.quantizer.encode(latents))
        # A vocoder's arithmetic is in proportion to the clip: few codes do.
        voice, vectors = codec.decoder.voice, None
        if voice is not None:
            states = codec.encoder.states(torch.zeros(1, COUNTED_CODES * codec.hop_length))
            vectors = voice.vectors(run("voice", COUNTED_CODES, lambda: voice.encode(states)))
        decoded = quantized.shape[-1]
        mel = run("decoder", decoded, lambda: codec.decoder(quantized, voice=vectors))
        few = mel[..., : VOCODED_CODES * codec.config.upsampling]
        run("vocoder", VOCODED_CODES, lambda: codec.vocoder(few))
    of_voice = found["encoder"] + found["voice"] if codec.has_voice else 0.0
    encode = round(found["encoder"] + found["quantizer"] + of_voice, 4)
    decode = round(found["decoder"] + found["vocoder"], 4)
    # Codes and mel frames that are computed for each chunk, over those that are emitted.
    frames = CHUNK * codec.config.upsampling
    decoded = (BEFORE + CHUNK + AFTER) / CHUNK
    vocoded = (CONTEXT + frames + AFTER * codec.config.upsampling) / frames
    streamed = round(found["decoder"] * decoded + found["vocoder"] * vocoded, 4)
    return {**found, "encode": encode, "decode": decode, "decode_streamed": streamed}


def describe(codec: HHCodec) -> dict[str, Any]:
    """Collect the figures of a codec in plain containers; rates in Hz, `bitrate` in bit/s.

    `parameters` are those of a codec loaded with `fold=False`, `parameters_folded` those that
    inference works with. `streaming` tells what a stream waits for: codes need the whole recording,
    or a window of a long one, whatever the encoder; sound comes with a delay, s.
    """
    from codec.streaming.long_form import WINDOW
    from codec.streaming.stream_decoder import AFTER, CHUNK

    config = codec.config
    size = config.encoder
    speech = getattr(codec.encoder, "speech", None)
    return {
        "name": config.name,
        "sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
        "frame_rate": codec.frame_rate,
        "codebook_size": codec.codebook_size,
        "num_codebooks": codec.num_codebooks,
        "bitrate": codec.bitrate,
        "loudness_dbfs": config.loudness_dbfs,
        "parameters": parameter_counts(codec),
        "parameters_folded": parameter_counts(codec, folded=True),
        "encoder": size.kind,
        "speech_encoder": None
        if speech is None
        else {
            "model": SPEECH_ENCODER,
            "layers": size.speech_layers,
            "dim": size.speech_dim,
            "parameters": sum(p.numel() for p in speech.whisper.parameters()),
            "states_per_second": STATE_RATE,
            "states_per_code": 2,
        },
        "quantizer": config.quantizer.kind,
        # Beside the codes, once a recording.
        "voice": {
            "tokens": config.voice.tokens,
            "size": config.voice.size,
            "bits": config.voice.bits,
        }
        if codec.has_voice
        else None,
        "vocoder": config.vocoder.kind,
        "streaming": {
            "encode_waits_for": f"the recording, or {WINDOW} codes of it",
            "decode_delay": round((CHUNK + AFTER) / codec.frame_rate, 3),
        },
        "mel": {**asdict(config.mel), "fingerprint": config.mel.fingerprint},
    }
