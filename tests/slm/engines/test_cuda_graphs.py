from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from slm.engines.cuda_graphs import GraphEngine
from slm.engines.merged import MergedDecoder, MergedEngine
from slm.engines.merged_weights import speech_outputs
from slm.generation.config import GenerationSettings
from slm.generation.generate import TokenRequest, generate
from slm.model.speech_lm import SpeechLM

PROMPT = torch.tensor([1, 7, 9])


class Recorder:
    """In place of CUDA graphs: warms up as they do, then runs anew, and counts both."""

    def __init__(self) -> None:
        self.recorded, self.replayed = 0, 0

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.recorded += 1
        run()
        result = run()

        def replay() -> Tensor:
            self.replayed += 1
            return result.copy_(run())

        return replay


@pytest.fixture(autouse=True)
def _no_grad() -> Any:
    with torch.no_grad():
        yield


def test_one_graph_serves_many_rows_and_positions(lm: SpeechLM) -> None:
    """Rows of 1 to 5 at any position below 256: as many recordings as powers of two of rows."""
    record = Recorder()
    engine = GraphEngine(MergedDecoder(lm), 5, 160, record)
    engine.prefill([PROMPT] * 5)
    for keep in ([0, 1, 2, 3, 4], [0, 1, 2], [0, 1], [1]):
        engine.select(keep)
        for _ in range(20):
            engine.decode(torch.full((len(keep),), 8))
    assert record.recorded == 4  # 8, 4, 2 and 1 rows


def test_the_next_batch_replays_the_graphs_of_the_one_before(lm: SpeechLM) -> None:
    decoder, record = MergedDecoder(lm), Recorder()
    for rows, longest in ((4, 160), (4, 100), (2, 30)):
        engine = GraphEngine(decoder, rows, longest, record)
        engine.prefill([PROMPT] * rows)
        engine.decode(torch.full((rows,), 8))
        del engine
        assert len(decoder.graph_memories) == 1
    assert record.recorded == 2  # of 4 rows, then of 2 on the same memory


def test_engines_that_are_open_at_once_do_not_share_memory(lm: SpeechLM) -> None:
    decoder, record = MergedDecoder(lm), Recorder()
    engines = [GraphEngine(decoder, 1, 160, record) for _ in range(2)]
    prompts = [PROMPT, torch.tensor([1, 20, 30, 40])]
    for engine, prompt in zip(engines, prompts, strict=True):
        engine.prefill([prompt])
    made = [engine.decode(torch.tensor([8])) for engine in engines]
    for prompt, hidden in zip(prompts, made, strict=True):
        alone = MergedEngine(decoder, 1, 160)
        alone.prefill([prompt])
        torch.testing.assert_close(hidden, alone.decode(torch.tensor([8])))


def test_a_larger_batch_gets_more_memory_and_the_smaller_is_dropped(lm: SpeechLM) -> None:
    decoder, record = MergedDecoder(lm), Recorder()
    for rows in (1, 4, 2):
        engine = GraphEngine(decoder, rows, 160, record)
        del engine
    assert [memory.rows for memory in decoder.graph_memories] == [4]


def test_pieces_of_up_to_three_tokens_are_read_by_graphs(lm: SpeechLM) -> None:
    """As models of aligned speech ask for them, rows of a batch by different numbers."""
    decoder, record = MergedDecoder(lm), Recorder()
    engine, plain = GraphEngine(decoder, 3, 160, record), MergedEngine(decoder, 3, 160)
    pieces = [
        [[8], [9], [10]],
        [[8, 11], [9], [10, 12, 13]],
        [[8], [9, 14], [10]],
        [[1, 2, 3, 4], [5], [6, 7]],
        [[8], [9, 14, 15], [10]],
    ]
    for each in (engine, plain):
        each.prefill([PROMPT, torch.tensor([1, 30]), torch.tensor([2])])
    for pending in pieces:
        torch.testing.assert_close(engine.extend(pending), plain.extend(pending))
    engine.select([2, 0])
    plain.select([2, 0])
    rest = [[21], [22, 23]]
    torch.testing.assert_close(engine.extend(rest), plain.extend(rest))
    # Widths 1, 2 and 3 of four rows, width 2 of two; four tokens are read without.
    assert record.recorded == 4
    assert record.replayed == 5


def test_rows_that_are_full_or_gone_disturb_no_other(lm: SpeechLM) -> None:
    """A row at the last slot of the memory stops; the others go on beside what it leaves."""
    decoder, record = MergedDecoder(lm), Recorder()
    engine, plain = GraphEngine(decoder, 4, 160, record), MergedEngine(decoder, 4, 160)
    for each in (engine, plain):
        each.prefill([torch.full((159,), 7), PROMPT, PROMPT, PROMPT])
        each.decode(torch.tensor([8, 9, 10, 11]))
        each.select([3, 1, 2])
    tokens = torch.tensor([12, 13, 14])
    torch.testing.assert_close(engine.decode(tokens), plain.decode(tokens))


def test_graphs_need_cuda(lm: SpeechLM) -> None:
    with pytest.raises(ValueError, match="expected a CUDA device for engine graphs, got cpu"):
        generate(lm, [TokenRequest(torch.tensor([1]), 2)], GenerationSettings(engine="graphs"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("width", [1, 2, 3])
def test_replayed_graphs_say_what_the_model_says(
    make_lm: Callable[..., SpeechLM], width: int
) -> None:
    lm = make_lm(num_kv_heads=1).cuda()
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(6, lm.vocabulary.vocab_size, (3, 42), generator=generator).cuda()
    decoder = MergedDecoder(lm)
    columns = [token for stretch in speech_outputs(lm) for token in stretch]
    for _ in range(2):  # the second engine replays the graphs of the first
        engine = GraphEngine(decoder, 3, 160)
        engine.prefill(list(tokens[:, :30]))
        for place in range(30, 42, width):
            hidden = engine.extend(tokens[:, place : place + width].tolist())
        logits = engine.logits(hidden, speech_outputs(lm))
        torch.testing.assert_close(logits, lm(tokens)[:, -1, columns], atol=1e-3, rtol=1e-3)
