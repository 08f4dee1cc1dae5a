from pathlib import Path
from typing import Any

import pytest
import torch

from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from slm.model.gguf_export import export_gguf
from slm.model.speech_lm import SpeechLM

gguf = pytest.importorskip("gguf", reason="it writes the files")


def speech_lm(**sizes: Any) -> SpeechLM:
    given = {"dim": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 4, "dim_head": 16}
    vocabulary = Vocabulary(40, 24).to_dict()
    torch.manual_seed(0)
    config = SpeechLMConfig(vocabulary, "x", 23.4375, max_seq_len=64, **{**given, **sizes})
    return SpeechLM(config).eval()


def test_a_file_holds_the_sizes_the_ids_and_the_weights(tmp_path: Path) -> None:
    lm = speech_lm()
    reader = gguf.GGUFReader(export_gguf(lm, tmp_path / "model.gguf"))
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "llama"
    assert fields["llama.block_count"] == 2
    assert fields["llama.attention.head_count_kv"] == 4
    assert fields["tokenizer.ggml.eos_token_id"] == lm.vocabulary.eos_id
    size = lm.vocabulary.vocab_size
    assert fields["tokenizer.ggml.tokens"] == [f"<{token}>" for token in range(size)]
    tensors = {each.name: torch.from_numpy(each.data.copy()) for each in reader.tensors}
    assert torch.equal(tensors["output.weight"], lm.head.weight)
    assert torch.equal(tensors["token_embd.weight"], lm.embedding.weight)
    # As many key heads as query heads: heads and pairs are in the order of ours.
    own = lm.decoder.state_dict()
    assert torch.equal(tensors["blk.0.attn_q.weight"], own["layers.0.1.to_q.weight"])
    assert torch.equal(tensors["blk.1.attn_k.weight"], own["layers.2.1.to_k.weight"])


def test_what_llama_cpp_cannot_hold_is_refused(tmp_path: Path) -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    with pytest.raises(ValueError, match="expected no rotary_scaling to export with QK norm"):
        export_gguf(speech_lm(qk_norm=True, rotary_scaling=scaling), tmp_path / "model.gguf")
    lm = speech_lm(qk_norm=True)
    with torch.no_grad():
        for name, parameter in lm.named_parameters():
            if name.endswith("proj.bias"):
                parameter.add_(1)
    with pytest.raises(ValueError, match="expected feed-forward biases of zero"):
        export_gguf(lm, tmp_path / "model.gguf")
    assert not list(tmp_path.iterdir())
