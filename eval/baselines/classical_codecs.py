"""Speech coders without learning, as anchors for the figures of a learned one.

Codec2 (https://github.com/drowe67/codec2, LGPL-2.1) and Opus (RFC 6716) run as the programs of
their Debian packages. All that code at 8 kHz are band-limited to 4 kHz, and Codec2 delays by some
20 ms: print the band-limited row beside them and measure after alignment.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from codec.audio.pcm import as_integers
from codec.checks import in_range, one_of
from eval.protocols import Recoded, Recoder
from eval.sound import resampled

from .token_streams import fit_length

NARROW_RATE = 8000
# Mode of c2enc: samples of a frame at 8 kHz, bits of a frame.
CODEC2_MODES = {
    "3200": (160, 64),
    "2400": (160, 48),
    "1600": (320, 64),
    "1400": (320, 56),
    "1300": (320, 52),
    "1200": (320, 48),
    "700C": (320, 28),
}


class ProgramMissingError(ValueError):
    """A program that is not installed; the message names the Debian package that holds it."""


def require_programs(names: Sequence[str], package: str) -> None:
    """Refuse to start without programs.

    Raises:
        ProgramMissingError: One of them is not on the path.
    """
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise ProgramMissingError(
            f"expected the programs {', '.join(names)}, found no {', '.join(missing)}; "
            f"apt install {package}"
        )


class OriginalRecoder:
    """The input itself, whose figures are the best that a metric can reach."""

    name = "original"
    bitrate: float | None = None

    def recode(self, waveform: np.ndarray, sample_rate: int) -> Recoded:
        """Return the waveform (T,) unchanged."""
        del sample_rate
        return Recoded(np.asarray(waveform, dtype=np.float32), None)


class BandLimitRecoder:
    """Resampling to 8 kHz and back alone, for the cost of losing everything above 4 kHz."""

    name = "band_limit_8k"
    bitrate: float | None = None

    def recode(self, waveform: np.ndarray, sample_rate: int) -> Recoded:
        """Remove the content of a waveform (T,) above 4 kHz."""
        narrow = resampled(np.asarray(waveform, dtype=np.float32), sample_rate, NARROW_RATE)
        return Recoded(fit_length(resampled(narrow, NARROW_RATE, sample_rate), len(waveform)), None)


class Codec2Recoder:
    """Codec2 in one of its modes, by c2enc and c2dec.

    Args:
        mode: A key of `CODEC2_MODES`. 700C packs its 28 bits into 4 bytes, so its files take
            800 bit/s.

    Raises:
        ValueError: An unknown mode.
        ProgramMissingError: The Debian package codec2 is not installed.
    """

    def __init__(self, mode: str) -> None:
        one_of("Codec2 mode", mode, CODEC2_MODES)
        require_programs(("c2enc", "c2dec"), "codec2")
        self.mode = mode
        self.name = f"codec2_{mode.lower()}"
        samples, bits = CODEC2_MODES[mode]
        self.bitrate: float | None = bits * NARROW_RATE / samples  # without packing

    def recode(self, waveform: np.ndarray, sample_rate: int) -> Recoded:
        """Code and decode a waveform (T,), which is delayed; bits = those of the file."""
        narrow = resampled(np.asarray(waveform, dtype=np.float32), sample_rate, NARROW_RATE)
        frame = CODEC2_MODES[self.mode][0]
        padded = fit_length(narrow, -(-len(narrow) // frame) * frame)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            raw, coded, decoded = folder / "in.raw", folder / "in.bit", folder / "out.raw"
            raw.write_bytes(as_integers(padded).tobytes())
            _run("c2enc", self.mode, raw, coded)
            _run("c2dec", self.mode, coded, decoded)
            bits = 8 * coded.stat().st_size
            samples = np.frombuffer(decoded.read_bytes(), "<i2").astype(np.float32) / 32768.0
        return Recoded(
            fit_length(resampled(samples, NARROW_RATE, sample_rate), len(waveform)), bits
        )


class OpusRecoder:
    """Opus by opusenc and opusdec, at constant bit rate.

    Args:
        kilobits: Target rate, kbit/s; Opus goes down to 6.

    Raises:
        ValueError: A rate out of [6, 256].
        ProgramMissingError: The Debian package opus-tools is not installed.
    """

    def __init__(self, kilobits: int) -> None:
        in_range("Opus kbit/s", kilobits, 6, 256)
        require_programs(("opusenc", "opusdec"), "opus-tools")
        self.kilobits = kilobits
        self.name = f"opus_{kilobits}"
        self.bitrate: float | None = 1000.0 * kilobits

    def recode(self, waveform: np.ndarray, sample_rate: int) -> Recoded:
        """Code and decode a waveform (T,); bits = those of the packets, without the container."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source, coded, decoded = folder / "in.wav", folder / "in.opus", folder / "out.wav"
            soundfile.write(source, waveform, sample_rate, subtype="PCM_16")
            rate = ("--hard-cbr", "--bitrate", str(self.kilobits))
            # Without padding and comments, so that only speech is counted.
            _run("opusenc", "--quiet", *rate, "--discard-comments", "--padding", "0", source, coded)
            _run("opusdec", "--quiet", "--force-wav", "--rate", "48000", coded, decoded)
            bits = 8 * opus_payload(coded.read_bytes())
            samples, out_rate = soundfile.read(decoded, dtype="float32")
        return Recoded(fit_length(resampled(samples, out_rate, sample_rate), len(waveform)), bits)


def opus_payload(data: bytes) -> int:
    """Count the bytes of the audio packets of an Ogg Opus file (RFC 3533, RFC 7845).

    Headers are left out: in a short clip Ogg's pages cost as much as the speech.

    Raises:
        ValueError: The bytes are no Ogg file.
    """
    start, packets, open_packet = 0, [], 0
    while start < len(data):
        mark = data[start : start + 4]
        if mark != b"OggS" or len(data) < start + 27:
            raise ValueError(f"expected an Ogg page at byte {start}, got {mark!r}")
        # A page header of 27 bytes ends in the number of segments; their sizes follow.
        segments = data[start + 27 : start + 27 + data[start + 26]]
        for size in segments:
            open_packet += size
            # A segment of 255 bytes goes on in the next one, which may be on the next page.
            if size < 255:
                packets.append(open_packet)
                open_packet = 0
        start += 27 + len(segments) + sum(segments)
    # The first two packets are the headers.
    return sum(packets[2:])


RECODERS: dict[str, Callable[[], Recoder]] = {
    "original": OriginalRecoder,
    "band_limit_8k": BandLimitRecoder,
    **{f"opus_{rate}": (lambda rate=rate: OpusRecoder(rate)) for rate in (16, 8, 6)},
    **{f"codec2_{mode.lower()}": (lambda mode=mode: Codec2Recoder(mode)) for mode in CODEC2_MODES},
}


def make_recoder(name: str) -> Recoder:
    """Make a recoder of `RECODERS` by name.

    Raises:
        ValueError: An unknown name, or a program that is not installed.
    """
    one_of("coder", name, RECODERS)
    return RECODERS[name]()


def _run(*command: str | Path) -> None:
    """Run a program.

    Raises:
        ValueError: It failed; with its output.
    """
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise ValueError(f"{command[0]} failed: {(result.stderr or result.stdout).strip()[-300:]}")
