"""The card of a codec's hub repository."""

from __future__ import annotations

from typing import Any

from codec.hub import card_text

_USE = """from codec import HHCodec, read_audio

codec = HHCodec.from_pretrained("{repository}")
codes, lengths = codec.encode(read_audio("in.wav", codec.sample_rate))
waveform, _ = codec.decode(codes)"""
_USE_WITH_VOICE = """from codec import HHCodec, read_audio

codec = HHCodec.from_pretrained("{repository}")
recording = read_audio("in.wav", codec.sample_rate)
codes, lengths = codec.encode(recording)
waveform, _ = codec.decode(codes, voice=codec.encode_voice(recording))  # or another's voice"""

# The notice that the licence of its weights asks for.
_WHISPER = (
    "(Radford et al. 2022, https://arxiv.org/abs/2212.04356; Copyright (c) 2022 OpenAI, MIT "
    "licence)"
)


def codec_card(
    codec: Any,
    repository: str,
    *,
    license: str | None = None,  # noqa: A002 - as cards name it
) -> str:
    """Write the card of a codec, with the header that the hub reads.

    Args:
        codec: An HHCodec; its rates and fingerprints are stated.
        repository: Name on the hub, such as "me/my-codec".
        license: Identifier, such as "apache-2.0"; None leaves it out.
    """
    bits = f"{codec.bitrate:.0f} bit/s"
    facts = {
        "sample rate": f"{codec.sample_rate} Hz",
        "codes": f"{codec.frame_rate:g} a second out of {codec.codebook_size}, {bits}",
        "codec fingerprint": f"`{codec.fingerprint}`",
        "code fingerprint": f"`{codec.code_fingerprint}`",
    }
    voice = codec.config.voice
    if voice.tokens:
        facts["voice code"] = (
            f"{voice.tokens} tokens out of {voice.size} once a recording, {voice.bits} bits, "
            f"fingerprint `{codec.voice_fingerprint}`"
        )
    size = codec.config.encoder
    if size.speech_layers:
        layers = f"{size.speech_layers} layers of {size.speech_dim}"
        facts["inside the encoder"] = f"a frozen Whisper encoder, {layers} {_WHISPER}"
    return card_text(
        repository.rpartition("/")[2],
        f"A speech codec of the hh-slm toolkit: speech to codes at {bits}, and back.",
        (_USE_WITH_VOICE if voice.tokens else _USE).format(repository=repository),
        pipeline_tag="audio-to-audio",
        tags=("audio", "speech", "neural-codec", "speech-tokenizer"),
        license=license,
        facts=facts,
    )
