from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from codec.weights import ZerosAsFirstWeights
from slm.data.documents import build_document
from slm.data.packed_dataset import PackedDataset
from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from slm.text.sentencepiece_tokenizer import TextTokenizer

ASSETS = Path(__file__).parent.parent / "assets"


@torch.no_grad()
def test_later_tokens_and_padding_change_nothing_before_them(lm: SpeechLM) -> None:
    tokens = torch.randint(6, 80, (1, 30))
    changed = tokens.clone()
    changed[:, 20:] = 0
    torch.testing.assert_close(lm(changed)[:, :20], lm(tokens)[:, :20], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(lm(changed)[:, 20:], lm(tokens)[:, 20:])


IMPORTED = {"qk_norm": True, "norm_eps": 1e-5, "rotary_theta": 5e5}  # as of a text model


@pytest.mark.parametrize("sizes", [{"num_kv_heads": 1}, {"num_kv_heads": 2}, IMPORTED])
@torch.no_grad()
def test_steps_over_a_cache_give_the_logits_of_the_whole(
    make_lm: Callable[..., SpeechLM], sizes: dict[str, Any]
) -> None:
    lm = make_lm(**sizes)
    tokens = torch.randint(6, 80, (3, 20))
    positions = torch.arange(20).expand(3, 20)
    cache = lm.new_cache(3, 20)
    hidden = [lm.step(tokens[:, :12], positions[:, :12], cache)]
    for place in range(12, 20):
        now = slice(place, place + 1)
        hidden.append(lm.step(tokens[:, now], positions[:, now], cache))
    logits = lm.head(torch.cat(hidden, dim=1))
    torch.testing.assert_close(logits, lm(tokens), atol=1e-4, rtol=1e-4)


def test_loss_is_the_weighted_mean_of_next_token_cross_entropies(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset]
) -> None:
    batch = make_rows(text_loss_weight=0.25).batch(0)
    logits = lm(batch.tokens, batch.positions, batch.document_ids)
    nll = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch.tokens[:, 1:].flatten(), reduction="none"
    )
    weights = batch.loss_weights[:, 1:].flatten()
    assert set(weights.tolist()) == {0.0, 0.25, 1.0}
    loss = lm.loss(
        batch.tokens,
        batch.loss_weights,
        positions=batch.positions,
        document_ids=batch.document_ids,
    )
    torch.testing.assert_close(loss, (nll * weights).sum() / weights.sum())


@torch.no_grad()
def test_the_loss_of_a_document_is_that_of_its_response_and_of_nothing_else(
    lm: SpeechLM, vocabulary: Vocabulary
) -> None:
    """Against log-probabilities read off the logits one by one: prompt and text are left out."""
    codes = [3, 1, 4]
    document = build_document(vocabulary, codes, text_ids=[2, 7], prompt=[5, 9])
    tokens = torch.from_numpy(document.tokens)[None]
    log_probabilities = lm(tokens)[0].double().log_softmax(-1)
    response = [*(vocabulary.code_start + code for code in codes), vocabulary.eos_id]
    start = tokens.shape[1] - len(response)
    by_hand = [-log_probabilities[start + i - 1, token] for i, token in enumerate(response)]
    loss = lm.loss(tokens, torch.from_numpy(document.loss_weights)[None])
    torch.testing.assert_close(loss.double(), torch.stack(by_hand).mean(), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_loss_stays_float32_under_bfloat16_autocast(lm: SpeechLM) -> None:
    tokens = torch.randint(6, 80, (2, 30))
    with torch.autocast("cpu", torch.bfloat16):
        hidden = lm.hidden(tokens)[:, :-1]
        logits = lm.head(hidden)
        assert logits.dtype == torch.bfloat16
        loss = lm.loss(tokens, torch.ones(2, 30)).detach()
    expected = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    # A bfloat16 loss of this size could only take steps of 1/64 or more.
    assert float(loss.bfloat16()) != pytest.approx(float(loss), abs=1e-5)


def test_every_parameter_receives_a_gradient(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset]
) -> None:
    batch = make_rows().batch(0)
    lm.loss(batch.tokens, batch.loss_weights, document_ids=batch.document_ids).backward()
    for name, parameter in lm.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_new_model_is_as_uncertain_as_chance(vocabulary: Vocabulary) -> None:
    config = SpeechLMConfig.preset(
        "tiny", vocabulary=vocabulary.to_dict(), codec_fingerprint="x", frame_rate=24.0
    )
    tokens = torch.randint(0, vocabulary.vocab_size, (4, 100))
    loss = SpeechLM(config).loss(tokens, torch.ones(4, 100))
    chance = torch.tensor(float(vocabulary.vocab_size)).log()
    torch.testing.assert_close(loss, chance, atol=0.1, rtol=0)


@torch.no_grad()
def test_a_saved_model_loads_with_the_same_logits(
    lm: SpeechLM, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    lm.save_pretrained(tmp_path, tokenizer)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.yaml", "model.safetensors", "text.model"}
    loaded = SpeechLM.from_pretrained(tmp_path)
    tokens = torch.randint(6, 80, (2, 30))
    assert torch.equal(loaded(tokens), lm(tokens))
    assert loaded.config == lm.config
    assert not loaded.training


def test_a_folder_that_is_no_model_is_refused(
    lm: SpeechLM, make_lm: Callable[..., SpeechLM], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"config\.yaml"):
        SpeechLM.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="neither a speech LM folder nor a hub repository"):
        SpeechLM.from_pretrained(tmp_path / "nothing")
    lm.save_pretrained(tmp_path)
    make_lm(dim=96).config.save(tmp_path / "config.yaml")
    with pytest.raises(ValueError, match="does not fit its config"):
        SpeechLM.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"12345678")
    with pytest.raises(ValueError, match="does not fit its config"):
        SpeechLM.from_pretrained(tmp_path)


@torch.no_grad()
def test_logits_are_those_of_the_pinned_decoder_library() -> None:
    """Golden values: weights, tokens and logits of one model, made once.

    x-transformers has changed numbers and parameter names between minor versions. When this fails
    after an upgrade, stored models no longer mean what they meant.
    """
    golden = load_file(ASSETS / "golden_lm.safetensors")
    tokens, logits = golden.pop("tokens"), golden.pop("logits")
    config = SpeechLMConfig(
        vocabulary=Vocabulary(4, 10).to_dict(),
        codec_fingerprint="golden",
        frame_rate=23.4375,
        dim=16,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        dim_head=8,
        max_seq_len=32,
    )
    lm = SpeechLM(config).eval()
    lm.load_state_dict(golden)
    torch.testing.assert_close(lm(tokens), logits, atol=1e-5, rtol=1e-5)


def test_rows_of_one_shape_compile_once_whatever_documents_they_hold(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset]
) -> None:
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()  # every kind: another test of this process may have broken a graph
    plain, lm, rows = make_lm().train(), make_lm().train(), make_rows()
    lm.compile_training(backend="eager")
    for index in range(4):
        batch = rows.batch(index)
        given = {"positions": batch.positions, "document_ids": batch.document_ids}
        expected = plain.loss(batch.tokens, batch.loss_weights, **given)
        loss = lm.loss(batch.tokens, batch.loss_weights, **given)
        loss.backward()
        torch.testing.assert_close(loss, expected)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


@pytest.mark.parametrize(
    ("preset", "millions"),
    [("mini", 10.9), ("small", 40.6), ("base", 98.4), ("medium", 345.2), ("large", 979.8)],
)
def test_presets_have_the_parameters_they_are_named_for(preset: str, millions: float) -> None:
    config = SpeechLMConfig.preset(
        preset,
        vocabulary=Vocabulary(512, 8192).to_dict(),
        codec_fingerprint="x",
        frame_rate=23.4375,
    )
    with torch.device("meta"):
        lm = SpeechLM(config)
    assert lm.num_parameters / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_layers", 10**6),
        ("dim", 10**6),
        ("dim_head", 10**6),
        ("num_heads", 10**9),
        ("ff_mult", 1e9),
        ("ff_mult", float("inf")),
        ("code_table", 10**5),
    ],
)
def test_a_config_that_is_not_of_its_weights_is_refused_before_much_is_built(
    lm: SpeechLM, tmp_path: Path, field: str, value: float
) -> None:
    lm.save_pretrained(tmp_path)
    path = tmp_path / "config.yaml"
    lines = [x for x in path.read_text().splitlines() if not x.startswith(f"{field}:")]
    path.write_text("\n".join([*lines, f"{field}: {value}", ""]).replace("inf", ".inf"))
    if field == "code_table":
        path.write_text(path.read_text().replace("codebook_dim: 0", "codebook_dim: 100000"))
    with pytest.raises(ValueError, match=r"expected|config"):
        SpeechLM.from_pretrained(tmp_path)


def test_weights_that_are_not_finite_are_refused(lm: SpeechLM, tmp_path: Path) -> None:
    with torch.no_grad():
        lm.head.weight[3, 3] = float("nan")
    lm.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"finite weights, got .* in head\.weight"):
        SpeechLM.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["hh-mini-slm", "hh-mini-slm-v2"])
def test_a_model_loaded_into_zeros_is_the_model(name: str) -> None:
    expected = SpeechLM.from_pretrained(name)
    with ZerosAsFirstWeights():
        lm = SpeechLM.from_pretrained(name)
    for kind in ("named_parameters", "named_buffers"):
        pairs = zip(getattr(lm, kind)(), getattr(expected, kind)(), strict=True)
        assert all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)
