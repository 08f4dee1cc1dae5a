"""Speech models as Llama or Qwen3 of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from slm.model.code_init import init_codes_from_codebook
from slm.model.llama_export import export_llama
from slm.model.llama_import import import_llama, llama_sizes
from slm.model.speech_lm import SpeechLM
from tests.slm.model.text_models import DEFAULT, LLAMA3, speech_lm, text_model

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@torch.no_grad()
def test_an_exported_model_gives_the_same_logits_in_transformers(
    tmp_path: Path, kv_heads: int, biased: bool
) -> None:
    lm = speech_lm(num_kv_heads=kv_heads)
    for name, parameter in lm.named_parameters():
        if parameter.ndim > 1:
            parameter.mul_(4)
        elif biased or "bias" not in name:
            parameter.add_(0.3 * torch.randn_like(parameter))
    export_llama(lm, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == "LlamaForCausalLM"
    assert theirs.config.mlp_bias == biased
    tokens = torch.randint(0, lm.vocabulary.vocab_size, (2, 30))
    expected = lm(tokens)
    assert expected.abs().max() > 1
    torch.testing.assert_close(theirs(tokens).logits, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize(("kind", "rope"), [("Llama", LLAMA3), ("Qwen3", DEFAULT)])
@torch.no_grad()
def test_a_model_imported_and_exported_again_is_still_the_same(
    tmp_path: Path, kind: str, rope: dict[str, Any]
) -> None:
    text_model(tmp_path / "text", kind, rope)
    sizes = llama_sizes(tmp_path / "text")
    lm = import_llama(speech_lm(**sizes), tmp_path / "text")
    export_llama(lm, tmp_path / "speech")
    assert llama_sizes(tmp_path / "speech") == sizes
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "speech").eval()
    assert type(theirs).__name__ == f"{kind}ForCausalLM"
    tokens = torch.randint(0, lm.vocabulary.vocab_size, (2, 30))
    torch.testing.assert_close(theirs(tokens).logits, lm(tokens), atol=2e-4, rtol=2e-4)
    lm.save_pretrained(tmp_path / "own")
    assert torch.equal(SpeechLM.from_pretrained(tmp_path / "own")(tokens), lm(tokens))


def test_gains_that_heads_do_not_share_cannot_be_exported(tmp_path: Path) -> None:
    lm = speech_lm(qk_norm=True)
    with torch.no_grad():
        for name, parameter in lm.named_parameters():
            if "q_rmsnorm" in name:
                parameter[0] += 1
    with pytest.raises(ValueError, match="that all heads share"):
        export_llama(lm, tmp_path)
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_a_model_with_code_tables_is_exported_as_the_weights_they_make(tmp_path: Path) -> None:
    lm = speech_lm(code_table=8, codebook_dim=3)
    init_codes_from_codebook(lm, torch.randn(24, 3))
    for parameter in lm.parameters():
        if parameter.ndim > 1:
            parameter.mul_(4)
    names = list(lm.state_dict())
    export_llama(lm, tmp_path)
    assert list(lm.state_dict()) == names
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokens = torch.randint(0, lm.vocabulary.vocab_size, (2, 30))
    expected = lm(tokens)
    assert expected.abs().max() > 1
    torch.testing.assert_close(theirs(tokens).logits, expected, atol=2e-4, rtol=2e-4)
