"""Paths of a GPU on machines without one: the language model and synthesis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import slm.engines.engine
from slm.data.documents import build_document
from slm.data.packed_batch import PackedBatch, stack_rows
from slm.data.vocabulary import Vocabulary
from slm.engines.cuda_graphs import GraphEngine
from slm.generation.aligned import AlignedRequest
from slm.generation.config import GenerationSettings
from slm.generation.generate import TokenRequest, generate
from slm.model.config import SpeechLMConfig
from slm.model.likelihood import log_likelihood, nats_per_code
from slm.model.speech_lm import SpeechLM
from slm.synthesis.synthesizer import Synthesizer
from slm.text.phone_tokenizer import PAUSE_ID, PhoneTokenizer, word_units
from slm.training.callbacks import VALID_NAME, Monitor
from slm.training.config import TrainingSettings
from slm.training.optimizers import gradient_norm, new_optimizer
from tests.support.pretended_cuda import PretendedCuda, moved, pretended_cuda, unknown

VOCABULARY = Vocabulary(50, 64)


def lm_of(vocabulary: Vocabulary = VOCABULARY, **sizes: Any) -> SpeechLM:
    torch.manual_seed(0)
    own = {"vocabulary": vocabulary.to_dict(), "codec_fingerprint": "x", "frame_rate": 23.4375}
    return SpeechLM(SpeechLMConfig.preset("tiny", **own, **sizes)).eval()


def varlen(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, *_: Any, **options: Any) -> Tensor:
    """The fused kernel, as strict about types as that of CUDA."""
    if not q.dtype == k.dtype == v.dtype or q.dtype not in (torch.float16, torch.bfloat16):
        raise TypeError(f"{q.dtype}, {k.dtype}, {v.dtype}")
    assert starts.dtype == torch.int32
    out: list[Tensor] = []
    attend: Any = F.scaled_dot_product_attention
    # Not as a device does it, so that this is no wait of ours.
    edges = starts.as_subclass(Tensor).tolist()
    for start, stop in pairwise(edges):
        heads = [each[start:stop].transpose(0, 1)[None] for each in (q, k, v)]
        heads[1:] = [each.repeat_interleave(q.shape[1] // k.shape[1], 1) for each in heads[1:]]
        if stop > start:
            out.append(attend(*heads, is_causal=True)[0].transpose(0, 1))
    return torch.cat(out)


@pytest.fixture
def batch() -> PackedBatch:
    rng = np.random.default_rng(0)
    documents = [
        [
            build_document(VOCABULARY, rng.integers(0, 64, n), text_ids=rng.integers(0, 50, 9))
            for n in row
        ]
        for row in ((40, 30), (60,))
    ]
    return stack_rows(documents, 160, VOCABULARY.pad_id)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("kernel", ["varlen", "mask"])
@pytest.mark.parametrize(
    "sizes",
    [{}, {"qk_norm": True}, {"qk_norm": True, "norm_eps": 1e-6, "num_heads": 4, "num_kv_heads": 2}],
    ids=["plain", "qk_norm", "grouped"],
)
def test_a_step_of_the_language_model_trains_on_its_device(
    monkeypatch: pytest.MonkeyPatch,
    batch: PackedBatch,
    sizes: dict[str, Any],
    kernel: str,
    optimizer: str,
) -> None:
    monkeypatch.setattr("slm.model.packed_attention.varlen_kernel", lambda: varlen)
    settings = TrainingSettings(max_steps=2, warmup_steps=1, optimizer=optimizer)
    with pretended_cuda() as gpu:
        model = moved(lm_of(**sizes, dropout=0.1, code_dropout=0.1)).train()
        model.attention_kernel = kernel
        made = new_optimizer(model, model.embedding.weight, model.head.weight, settings)
        rows = PackedBatch(*(each.to("cuda") for each in batch))
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = model.loss(
                rows.tokens,
                rows.loss_weights,
                positions=rows.positions,
                document_ids=rows.document_ids,
            )
        loss.backward()
        norm = gradient_norm(model.parameters())
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), 1.0, norm)
        if optimizer == "muon":  # fused AdamW is C++, which the pretended device cannot enter
            made.step()
        assert norm.device.type == "cuda"
    waits = {
        "slm/model/speech_lm.py::_indices": 1,
        "slm/model/packed_attention.py::document_starts": int(kernel == "varlen"),
    }
    assert unknown(gpu, waits) == {}


def test_half_precision_chooses_the_kernel_for_unequal_lengths(
    monkeypatch: pytest.MonkeyPatch, batch: PackedBatch
) -> None:
    monkeypatch.setattr("slm.model.packed_attention.varlen_kernel", lambda: varlen)
    with pretended_cuda() as gpu, torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        model = moved(lm_of(qk_norm=True))
        rows = PackedBatch(*(each.to("cuda") for each in batch))
        model(rows.tokens, rows.positions, rows.document_ids)
    assert unknown(gpu, {"slm/model/packed_attention.py::document_starts": 1}) == {}


def recorded(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """In place of a CUDA graph: warms up and is recorded as one, then runs anew."""
    gpu = PretendedCuda.current
    assert gpu is not None
    run()
    with gpu.recording():
        run()
    return run


@pytest.fixture(params=["graphs", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(slm.engines.engine, "GraphEngine", partial(GraphEngine, record=recorded))
    return request.param


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.0}, {"guidance": 2.0}, {"weights": "int8"}, {"repetition_window": 4}],
    ids=["drawn", "greedy", "guided", "int8", "unrepeated"],
)
def test_codes_are_generated_on_the_device(engine: str, options: dict[str, Any]) -> None:
    settings = GenerationSettings(engine=engine, **options)
    prompts = [torch.tensor([1, 3, 10, 5, 60]), torch.tensor([1, 3, 10, 12, 5, 60, 61])]
    requests = [
        TokenRequest(prompt, most, most, unguided=prompt)
        for prompt, most in zip(prompts, (8, 5), strict=True)
    ]
    expected = generate(lm_of(), requests, GenerationSettings(engine="torch", **options))
    with pretended_cuda() as gpu:
        made = generate(moved(lm_of()), requests, settings)
    assert [each.tokens.tolist() for each in made] == [each.tokens.tolist() for each in expected]
    # One copy to the host a token.
    assert unknown(gpu, {"slm/generation/codes.py::draw": 8}) == {}


def test_aligned_speech_is_generated_on_the_device(engine: str) -> None:
    lm = lm_of(Vocabulary(PhoneTokenizer.vocab_size, 64), lookahead=2, max_seq_len=400)
    units = np.array([PAUSE_ID, *word_units(["K", "AE", "T"]), PAUSE_ID])
    requests = [AlignedRequest(units, seed=seed) for seed in range(3)]
    expected = generate(lm, requests, GenerationSettings(engine="torch"))
    with pretended_cuda() as gpu:
        made = generate(moved(lm), requests, GenerationSettings(engine=engine))
    assert [each.tokens.tolist() for each in made] == [each.tokens.tolist() for each in expected]
    longest = len(units) + max(len(each.tokens) for each in made)
    assert unknown(gpu, {"slm/generation/aligned.py::draw": longest}) == {}


def test_likelihoods_are_computed_on_the_device() -> None:
    document = build_document(VOCABULARY, np.arange(20), text_ids=np.arange(5))
    (expected,) = log_likelihood(lm_of(), [document])
    with pretended_cuda() as gpu:
        (score,) = log_likelihood(moved(lm_of()), [document])
    assert score.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-5)
    assert dict(gpu.errors) == {}


def test_validation_of_a_training_in_bfloat16_is_in_it_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, batch: PackedBatch, tmp_path: Path
) -> None:
    """In float32 it would take many times as long as the steps."""
    kernels = []

    def kernel(q: Tensor, *rest: Any, **options: Any) -> Tensor:
        kernels.append(q.dtype)
        return varlen(q, *rest, **options)

    monkeypatch.setattr("slm.model.packed_attention.varlen_kernel", lambda: kernel)
    settings = TrainingSettings(max_steps=1, warmup_steps=0, bf16=True)
    monitor = Monitor(settings, tmp_path, 0, {VALID_NAME: [batch]}, progress=False)
    alone = SimpleNamespace(reduce=lambda tensor, reduce_op: tensor)
    trainer: Any = SimpleNamespace(global_rank=0, world_size=1, strategy=alone)
    expected = nats_per_code(lm_of(), [batch])
    with pretended_cuda() as gpu:
        module: Any = SimpleNamespace(lm=moved(lm_of()), sharded=False)
        module.device = torch.device("cuda", 0)
        found = monitor._validated(trainer, module, VALID_NAME)
    assert dict(gpu.errors) == {}
    assert set(kernels) == {torch.bfloat16}
    assert found == pytest.approx(expected, rel=1e-2)


def test_a_synthesizer_works_on_its_device(make_waveform: Callable[..., np.ndarray]) -> None:
    prompt = make_waveform(0.5)
    synthesizer = Synthesizer.from_pretrained("hh-mini-24k", "hh-mini-slm")
    settings = GenerationSettings(engine="torch")
    expected = synthesizer.tts("Good.", prompt=prompt, settings=settings)
    with pretended_cuda() as gpu:
        synthesizer.codec, synthesizer.lm = moved(synthesizer.codec), moved(synthesizer.lm)
        made = synthesizer.tts("Good.", prompt=prompt, settings=settings)
        streamed = list(synthesizer.stream("Good.", prompt=prompt, settings=settings))
        score = synthesizer.score(prompt)
        longer = synthesizer.continue_speech(prompt, 0.2, settings=settings)
    assert dict(gpu.errors) == {}
    np.testing.assert_array_equal(made.codes, expected.codes)
    assert sum(map(len, streamed)) == len(made.waveform)
    assert score.num_codes == 12
    assert longer.num_given_codes == 11
