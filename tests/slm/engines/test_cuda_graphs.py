from collections.abc import Callable

import pytest
import torch

from slm.engines.cuda_graphs import GraphEngine
from slm.engines.merged import MergedDecoder
from slm.engines.merged_weights import speech_outputs
from slm.generation.config import GenerationSettings
from slm.generation.generate import TokenRequest, generate
from slm.model.speech_lm import SpeechLM


def test_one_graph_serves_many_rows_and_positions(lm: SpeechLM) -> None:
    """Rows of 1 to 5 at any position below 256: as many recordings as powers of two of rows."""
    recorded = []

    def record(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        recorded.append(run)
        return run

    engine = GraphEngine(MergedDecoder(lm), 5, 160, record)
    with torch.no_grad():
        engine.prefill([torch.tensor([1, 7, 9])] * 5)
        for keep in ([0, 1, 2, 3, 4], [0, 1, 2], [0, 1], [1]):
            engine.select(keep)
            for _ in range(20):
                engine.decode(torch.full((len(keep),), 8))
    assert len(recorded) == 4  # 8, 4, 2 and 1 rows


def test_graphs_need_cuda(lm: SpeechLM) -> None:
    with pytest.raises(ValueError, match="expected a CUDA device for engine graphs, got cpu"):
        generate(lm, [TokenRequest(torch.tensor([1]), 2)], GenerationSettings(engine="graphs"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_replayed_graphs_say_what_the_model_says(make_lm: Callable[..., SpeechLM]) -> None:
    lm = make_lm(num_kv_heads=1).cuda()
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(6, lm.vocabulary.vocab_size, (3, 40), generator=generator).cuda()
    engine = GraphEngine(MergedDecoder(lm), 3, 160)
    columns = [token for stretch in speech_outputs(lm) for token in stretch]
    with torch.no_grad():
        engine.prefill(list(tokens[:, :30]))
        for place in range(30, 40):
            logits = engine.logits(engine.decode(tokens[:, place]), speech_outputs(lm))
        torch.testing.assert_close(logits, lm(tokens)[:, -1, columns], atol=1e-3, rtol=1e-3)
