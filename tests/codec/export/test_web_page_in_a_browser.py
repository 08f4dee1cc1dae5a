"""The page of a codec in Chromium, beside torch."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from codec import HHCodec
from codec.audio.io import read_audio
from codec.bitstream.format import CodedRecording, StreamHeader, stated_level
from codec.cli.main import main
from codec.export.onnx_files import DECODER, ENCODER, META
from codec.export.web_page import runtime_files, write_page
from codec.streaming.long_form import windows
from tests.support.chromium import browser as browser
from tests.support.chromium import needs_chromium

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = Path(os.environ.get("HH_ONNXRUNTIME_WEB", ROOT / "node_modules/onnxruntime-web"))
# Marks, not fixtures, skip: neither an export nor a browser is started for nothing.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PACKAGE.exists(),
        reason="no onnxruntime-web: npm pack it and name the .tgz in HH_ONNXRUNTIME_WEB",
    ),
    needs_chromium,
]
LEAST_SNR = 40.0  # beside torch, 16 bits included
LONG = 120_000  # ms that a page on a busy machine may take


class QuietHandler(SimpleHTTPRequestHandler):
    """A server of files that prints nothing."""

    def log_message(self, *arguments: Any) -> None:
        """Drop the line."""


@pytest.fixture(scope="module")
def page_folder(exported: tuple[HHCodec, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with the tiny codec's encoder and decoder."""
    folder = tmp_path_factory.mktemp("page")
    write_page(folder, runtime_files(PACKAGE))
    for name in (ENCODER, DECODER, META):
        shutil.copy(exported[1] / name, folder)
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, on this machine alone."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def address(page_folder: Path) -> Iterator[str]:
    """Where the page is served from."""
    with served(page_folder) as found:
        yield found


def coded(codec: HHCodec, path: Path, count: int, num_samples: int) -> np.ndarray:
    """Write `count` codes as a .hhc file of -30 dBFS; returns the codes."""
    codes = np.random.default_rng(0).integers(0, codec.codebook_size, count).astype(np.uint16)
    sizes = (codec.sample_rate, codec.hop_length, codec.codebook_size)
    header = StreamHeader(codec.code_fingerprint, *sizes, level_dbfs=-30.0)
    CodedRecording(header, codes, num_samples).save(path)
    return codes


def saved(page: Any, folder: Path) -> np.ndarray:
    """Samples of the WAV file that the page offers."""
    page.wait_for_selector("#result:not([hidden])", timeout=LONG)
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(folder / "saved.wav")
    samples, rate = soundfile.read(folder / "saved.wav", dtype="float32")
    assert rate == 24_000
    return samples


def snr(reference: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10((reference**2).sum() / ((got - reference) ** 2).sum()))


def test_the_page_decodes_a_file_in_a_browser(
    browser: Any, address: str, exported: tuple[HHCodec, Path], tmp_path: Path
) -> None:
    codec, _ = exported
    codes = coded(codec, tmp_path / "a clip.hhc", 40, 40_000)
    page = browser.new_page()
    requested: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#file:enabled", timeout=LONG)
    # 1. A file gets its own length and level.
    page.set_input_files("#file", tmp_path / "a clip.hhc")
    samples = saved(page, tmp_path)
    loudness = codec.config.loudness_dbfs
    assert loudness is not None
    gain = 10 ** ((-30.0 - loudness) / 20)
    whole = codec.decode(torch.from_numpy(codes.astype(np.int64))[None])[0][0].numpy()
    assert samples.shape == (40_000,)
    assert snr(np.clip(gain * whole[:40_000], -1, 1), samples) >= LEAST_SNR
    assert page.get_attribute("#download", "download") == "a_clip.wav"
    # 2. Pasted codes are decoded whole, at the codec's level.
    page.fill("#codes", ", ".join(map(str, codes[:10])))
    page.click("#decode")
    page.wait_for_selector("#name:text-is('codes')", timeout=LONG)
    beginning = codec.decode(torch.from_numpy(codes[:10].astype(np.int64))[None])[0][0].numpy()
    assert snr(np.clip(beginning, -1, 1), saved(page, tmp_path)) >= LEAST_SNR
    # 3. What is damaged, or no code, is named, and the page goes on.
    content = bytearray((tmp_path / "a clip.hhc").read_bytes())
    content[50] ^= 1
    (tmp_path / "damaged.hhc").write_bytes(content)
    page.set_input_files("#file", tmp_path / "damaged.hhc")
    page.wait_for_selector("#status.bad:text('block 0 is damaged')", timeout=LONG)
    page.fill("#codes", "1 2 64")
    page.click("#decode")
    page.wait_for_selector("#status.bad:text('expected codes in 0..63, got 64')", timeout=LONG)
    page.close()
    assert problems == []
    assert all(url.startswith((address, "blob:", "data:")) for url in requested)


def test_long_recordings_are_decoded_in_windows_in_a_browser(
    browser: Any, address: str, exported: tuple[HHCodec, Path], page_folder: Path, tmp_path: Path
) -> None:
    codec, _ = exported
    codes = coded(codec, tmp_path / "long.hhc", 200, 200 * 1024)
    meta = json.loads((page_folder / META).read_text())
    (page_folder / META).write_text(json.dumps(meta | {"longest_decoded": 160}))
    try:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#file:enabled", timeout=LONG)
        page.set_input_files("#file", tmp_path / "long.hhc")
        samples = saved(page, tmp_path)
        page.close()
    finally:
        (page_folder / META).write_text(json.dumps(meta))
    # each window alone, mixed over 8 codes on either side of its seams
    expected = np.zeros(200 * 1024)
    for cut in windows(200, 160, 64):
        part = torch.from_numpy(codes[cut.start : cut.stop].astype(np.int64))[None]
        whole = codec.decode(part)[0][0].numpy()
        places = (np.arange(cut.start * 1024, cut.stop * 1024) + 0.5) / 1024
        rise = (places - cut.first + 8) / 16 if cut.first else np.ones(len(places))
        fall = (cut.last + 8 - places) / 16 if cut.last < 200 else np.ones(len(places))
        expected[cut.start * 1024 : cut.stop * 1024] += whole * np.minimum(rise, fall).clip(0, 1)
    loudness = codec.config.loudness_dbfs
    assert loudness is not None
    gain = 10 ** ((-30.0 - loudness) / 20)
    assert snr(np.clip(gain * expected, -1, 1), samples) >= LEAST_SNR


def test_the_page_encodes_a_recording_in_a_browser(
    browser: Any,
    address: str,
    exported: tuple[HHCodec, Path],
    page_folder: Path,
    make_waveform: Callable[..., np.ndarray],
    tmp_path: Path,
) -> None:
    codec, _ = exported
    waveform = np.round(make_waveform(1.7) * 2**15).clip(-(2**15), 2**15 - 1) / 2**15
    stereo = np.stack([waveform, np.zeros_like(waveform)], axis=1)
    soundfile.write(tmp_path / "a voice.wav", stereo, 24_000)
    soundfile.write(tmp_path / "out of phase.wav", np.stack([waveform, -waveform], 1), 24_000)
    page = browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#sound:enabled", timeout=LONG)
    # 1. The average of the channels is encoded, and the codes are decoded at its level.
    page.set_input_files("#sound", tmp_path / "a voice.wav")
    samples = saved(page, tmp_path)
    mono = (0.5 * waveform[None]).astype(np.float32)
    codes, level = codec.encode(mono)[0], float(codec.levels(mono)[0])
    assert list(map(int, page.input_value("#codes").split())) == codes[0].tolist()
    with page.expect_download() as download:
        page.click("#coded")
    assert download.value.suggested_filename == "a_voice.hhc"
    download.value.save_as(tmp_path / "a voice.hhc")
    kept = CodedRecording.from_bytes((tmp_path / "a voice.hhc").read_bytes())
    assert kept.header.codec_fingerprint == codec.code_fingerprint
    assert (kept.header.level_dbfs, kept.num_samples) == (stated_level(level), 40_800)
    np.testing.assert_array_equal(kept.codes, codes[0].numpy())
    decoded = codec.decode(codes, levels=[stated_level(level)])[0][0, :40_800].numpy()
    assert snr(np.clip(decoded, -1, 1), samples) >= LEAST_SNR
    # 2. What is no recording, or would be silence or too long, is named.
    (tmp_path / "text.wav").write_text("no sound")
    page.set_input_files("#sound", tmp_path / "text.wav")
    page.wait_for_selector("#status.bad:text('text.wav: expected a recording')", timeout=LONG)
    page.set_input_files("#sound", tmp_path / "out of phase.wav")
    page.wait_for_selector("#status.bad:text('cancel each other')", timeout=LONG)
    meta = json.loads((page_folder / META).read_text()) | {"longest_encoded": 30}
    page.route("**/meta.json", lambda route: route.fulfill(json=meta))
    page.goto(address)
    page.wait_for_selector("#sound:enabled", timeout=LONG)
    page.set_input_files("#sound", tmp_path / "a voice.wav")
    page.wait_for_selector("#status.bad:text('at most 1.28 s, got 1.70 s')", timeout=LONG)
    page.close()
    assert problems == []


@pytest.mark.skipif("HH_SLM_EXPORTS" not in os.environ, reason="a minute; set HH_SLM_EXPORTS=1")
@pytest.mark.parametrize("name", ["hh-mini-24k", "hh-mini-24k-v2"])
def test_a_shipped_codec_encodes_and_decodes_in_a_browser_as_with_torch(
    name: str,
    browser: Any,
    make_waveform: Callable[..., np.ndarray],
    tmp_path: Path,
) -> None:
    pytest.importorskip("onnxscript", reason="torch's exporter needs it")
    folder = tmp_path / "page"
    call = ["export", "web", name, str(folder), "--runtime", str(PACKAGE), "--encoder"]
    assert main(call) == 0
    codec = HHCodec.from_pretrained(name)
    # A recording of one's own, else a generated voice.
    given = os.environ.get("HH_RECORDING")
    waveform = read_audio(given, 24_000) if given else make_waveform(2.1)
    soundfile.write(tmp_path / "voice.wav", waveform, 24_000, "PCM_16")
    waveform = read_audio(tmp_path / "voice.wav", 24_000)
    codes, level = codec.encode(waveform)[0], float(codec.levels(waveform)[0])
    decoded = codec.decode(codes, levels=[stated_level(level)])[0][0, : len(waveform)].numpy()
    with served(folder) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#sound:enabled", timeout=LONG)
        page.set_input_files("#sound", tmp_path / "voice.wav")
        samples = saved(page, tmp_path)
        got = list(map(int, page.input_value("#codes").split()))
        page.close()
    assert got == codes[0].tolist()
    assert snr(np.clip(decoded, -1, 1), samples) >= LEAST_SNR
