"""Paths of a GPU on machines without one: no tensor of another device, no unknown wait."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from codec import CodecConfig, HHCodec, StreamDecoder
from codec.audio.store import AudioStore, AudioStoreWriter
from codec.devices import exact_float32
from codec.distillation.config import SemanticConfig
from codec.distributed import broadcast_from_first
from codec.model.encoder import SEANetEncoder
from codec.streaming.long_form import encode_clip
from codec.training.config import DiscriminatorConfig, LossWeights, PhaseConfig
from codec.training.data import Batch, CodecData, CropBatches
from codec.training.module import CodecTraining
from recipes.encoding.local import encode_waveforms
from tests.support.pretended_cuda import moved, pretended_cuda, unknown

HOP = 1024


def codec_of(kind: str = "vocos") -> HHCodec:
    values = CodecConfig.preset("tiny").to_dict()
    values["vocoder"]["kind"] = kind
    torch.manual_seed(0)
    codec = HHCodec(CodecConfig.from_dict(values)).eval()
    codec.quantizer.enable()
    return codec


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> AudioStore:
    folder = tmp_path_factory.mktemp("clips")
    noise = 0.1 * np.random.default_rng(0).standard_normal(40 * HOP)
    with AudioStoreWriter(folder, 24_000) as writer:
        writer.add(noise.astype(np.float32), {"id": "a"})
    return AudioStore(folder)


# The pretended device itself.


def test_what_a_device_refuses_is_seen() -> None:
    with pretended_cuda() as gpu:
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        _ = there + here
        torch.rand(2, device="cuda", generator=torch.Generator())
        _ = (there + 1).numpy()
    assert [each.split("tests ")[1].split(":")[0] for each in gpu.errors] == [
        "add",
        "rand",
        "numpy of a tensor on the device",
    ]


def test_where_the_host_waits_is_seen() -> None:
    with pretended_cuda() as gpu:
        there = torch.arange(4, device="cuda")
        assert float(there.sum()) == 6
        assert there[there > 2].tolist() == [3]
        assert there.cpu().device.type == "cpu"
    assert sum(gpu.waits.values()) == 4  # float, index of bools, tolist, cpu


def test_operations_that_cuda_computes_in_float32_are() -> None:
    with pretended_cuda() as gpu, torch.autocast("cuda", dtype=torch.bfloat16):
        there = torch.ones(3, 4, device="cuda", dtype=torch.bfloat16)
        assert there.softmax(-1).dtype == there.square().dtype == torch.float32
        assert (there @ there.T).dtype == there.sigmoid().dtype == torch.bfloat16
        torch.fft.rfft(there)
    assert [each.split("tests ")[1] for each in gpu.errors] == ["fft_rfft: a spectrum of 16 bits"]


def test_what_a_graph_cannot_record_is_seen() -> None:
    with pretended_cuda() as gpu:
        there = torch.ones(3, device="cuda")
        with gpu.recording():
            _ = there + torch.arange(3, device="cuda")
            _ = there + torch.tensor([1, 2, 3], device="cuda")
            float(there[0])
    kinds = [each.split("tests ")[1] for each in gpu.errors]
    assert kinds == ["tensor: a copy from the host in a graph", "__float__: a wait in a graph"]


def test_what_nccl_refuses_is_seen() -> None:
    with pretended_cuda() as gpu, gpu.nccl():
        there = torch.ones(3, 2, device="cuda")
        torch.distributed.all_reduce(there)
        torch.distributed.broadcast(torch.ones(3), 0)
        torch.distributed.broadcast(there.T, 0)
    kinds = [each.split("tests ")[1] for each in gpu.errors]
    assert kinds == ["broadcast: a tensor of the CPU", "broadcast: a tensor in pieces"]


# The codec.


@pytest.mark.parametrize("kind", ["vocos", "harmonic"])
def test_a_codec_encodes_and_decodes_on_its_device(kind: str) -> None:
    codec = codec_of(kind)
    lengths = torch.tensor([9 * HOP, 5 * HOP])
    waveform = 0.1 * torch.randn(2, 9 * HOP)
    expected, _ = codec.encode(waveform, lengths)
    with pretended_cuda() as gpu:
        codec = moved(codec)
        codes, counts = codec.encode(waveform.to("cuda"), lengths)
        sound, _ = codec.decode(codes, counts, lengths)
        assert codes.device.type == sound.device.type == "cuda"
    assert codes.as_subclass(Tensor).tolist() == expected.tolist()
    waits = {
        "codec/interface/inputs.py::waveform_batch": 1,
        "codec/interface/levels.py::level_change": 2,
        # Speech and silence are told apart on the host: once a row that is encoded, once a group
        # of rows that is decoded.
        "codec/interface/levels.py::clip_level": 2,
        "codec/model/mel.py::silent_rows": 2,
        "codec/model/quantizer.py::decode": 2,
    }
    assert unknown(gpu, waits) == {}


def test_a_search_for_codes_waits_for_its_device_no_more_than_a_decoder() -> None:
    codec, waveform = codec_of("vocos"), 0.1 * torch.randn(2, 9 * HOP)
    expected = codec.encode_scaled(waveform, 2)
    with pretended_cuda() as gpu:
        codes = moved(codec).encode_scaled(waveform.to("cuda"), 2)
    assert codes.as_subclass(Tensor).tolist() == expected.tolist()
    assert unknown(gpu, {"codec/model/mel.py::silent_rows": 1}) == {}


def test_every_encoder_of_the_toolkit_gives_the_same_codes(
    make_waveform: Callable[..., np.ndarray],
) -> None:
    codec, waveform = codec_of(), make_waveform(1.0)
    expected = encode_clip(codec, waveform)
    with pretended_cuda() as gpu:
        codec = moved(codec)
        for encode in (encode_clip, lambda codec, each: encode_waveforms(codec, [each])[0]):
            np.testing.assert_array_equal(encode(codec, waveform), expected)
    assert dict(gpu.errors) == {}


def test_encoding_computes_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the process has set, and that is as before afterwards."""
    seen = []
    codec, plain = codec_of(), HHCodec.scaled
    backends: Any = torch.backends
    places = backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn
    before = [place.fp32_precision for place in places]

    def scaled(self: HHCodec, waveform: Tensor) -> Tensor:
        seen.append([place.fp32_precision for place in places])
        return plain(self, waveform)

    monkeypatch.setattr(HHCodec, "scaled", scaled)
    with pretended_cuda():
        moved(codec).encode(0.1 * torch.randn(1, 2 * HOP, device="cuda"))
    assert seen == [["ieee"] * 3]
    assert [place.fp32_precision for place in places] == before
    with exact_float32(torch.device("cpu")):
        assert [place.fp32_precision for place in places] == before


@pytest.mark.parametrize("kind", ["vocos", "harmonic"])
def test_a_stream_is_decoded_on_its_device(kind: str) -> None:
    codec = codec_of(kind)
    with pretended_cuda() as gpu:
        stream = StreamDecoder(moved(codec), chunk=4, before=8, after=2)
        pieces = [stream.push(np.arange(8)), stream.push(np.arange(6)), stream.finish()]
    assert sum(map(len, pieces)) == 14 * HOP
    waits = {
        "codec/streaming/stream_decoder.py::_emit": 3,
        "codec/model/mel.py::silent_rows": 3,
        "codec/model/quantizer.py::decode": 3,
    }
    assert unknown(gpu, waits) == {}


# Training of the codec.


class Alone:
    """An optimizer as Lightning hands it out."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.param_groups = optimizer, optimizer.param_groups
        self.step, self.zero_grad = optimizer.step, optimizer.zero_grad


class OnGpu(CodecTraining):
    """A training without a trainer."""

    alone: list[Alone]
    data: CodecData

    def optimizers(self, use_pl_optimizer: bool = True) -> Any:
        return self.alone

    @property
    def _data(self) -> CodecData:
        return self.data

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", 0)


PHASES = {
    "all": {"weights": LossWeights(mel=1, vq=1, waveform_mel=1, adversarial=1, feature_matching=1)},
    "distilled": {
        "train": ("encoder", "quantizer", "decoder"),
        "weights": LossWeights(mel=1, vq=1, semantic=1),
        "semantic": SemanticConfig(teacher="mfcc"),
    },
    "vocoder": {
        "train": ("vocoder",),
        "vocoder_input": "target",
        "weights": LossWeights(waveform_mel=1, adversarial=1),
        # "all" has those of periods, too, which are large whatever their sizes.
        "discriminators": DiscriminatorConfig((), (256,), 2, (256,), 2),
    },
    "decoder": {"train": ("decoder",), "weights": LossWeights(mel=1)},
}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", PHASES)
def test_a_phase_of_the_codec_trains_on_its_device(
    clips: AudioStore, name: str, bf16: bool
) -> None:
    phase = PhaseConfig(
        batch_size=2,
        crop_codes=8,
        steps=3,
        warmup_steps=1,
        quantize_from=1,
        ema_decay=0.9,
        **{"discriminators": DiscriminatorConfig((2,), (256,), 2, (256,), 2), **PHASES[name]},
    )
    codec = codec_of() if name in ("vocoder", "decoder") else HHCodec(CodecConfig.preset("tiny"))
    with pretended_cuda() as gpu:
        module = moved(OnGpu(codec, phase, 0, balance_every=2))
        module.alone = [Alone(each) for each in module.configure_optimizers()]
        module.data = CodecData(CropBatches(clips, 2, 8 * HOP, seed=0), clips, num_valid_crops=2)
        for step in range(3):
            crops = module.data.batches.batch(step).to("cuda")
            if step == 2:  # the first two read whether latents are quantised, and fill the codebook
                gpu.waits.clear()
            # Where products are of 16 bits also in a group of processes.
            with (
                gpu.nccl() if bf16 else nullcontext(),
                torch.autocast("cuda", dtype=torch.bfloat16, enabled=bf16),
            ):
                module.training_step(Batch(step, crops), step)
        stepped = gpu.waiting()
        with gpu.nccl() if bf16 else nullcontext():
            broadcast_from_first(module.state_dict().values())
        valid = module.data.valid_batch(), module.data.valid_lengths()
        module.validate(*(each.to("cuda") for each in valid if each is not None))
    assert dict(gpu.errors) == {}
    # The check of a step reads all figures at once.
    assert stepped == {"codec/training/diagnostics.py::check_finite": 1}


def test_the_lstm_of_the_encoder_is_computed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN would take fp16 under autocast, which is trained without loss scaling."""
    seen, plain = [], torch.nn.LSTM.forward

    def forward(self: torch.nn.LSTM, x: Tensor, *rest: Any) -> Any:
        seen.append((x.dtype, torch.is_autocast_enabled("cuda")))
        return plain(self, x, *rest)

    monkeypatch.setattr(torch.nn.LSTM, "forward", forward)
    values = CodecConfig.preset("tiny").to_dict()
    values["encoder"] |= {"kind": "seanet", "channels": 2, "num_lstm_layers": 1}
    encoder = SEANetEncoder(CodecConfig.from_dict(values))
    with pretended_cuda(), torch.autocast("cuda", dtype=torch.bfloat16):
        moved(encoder)(torch.randn(1, 2 * HOP, device="cuda"))
    assert seen == [(torch.float32, False)]
