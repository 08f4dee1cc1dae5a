"""Rows of a batch that read nothing in a step, as contexts without a text do between units."""

from collections.abc import Callable

import pytest
import torch

from slm.engines.cuda_graphs import GraphEngine
from slm.engines.engine import Engine
from slm.engines.merged import MergedDecoder, MergedEngine
from slm.engines.merged_weights import speech_outputs
from slm.engines.native import NativeDecoder, NativeEngine
from slm.engines.native_build import is_available
from slm.engines.reference import CachedEngine, UncachedEngine
from slm.model.speech_lm import SpeechLM

LONGEST = 12
PROMPTS = [[1, 20, 30, 40], [2], [3, 25]]
# What each row reads in each step; the first row is full after the second, the others wait in turn.
STEPS = [
    [[8, 11, 12], [], [10]],
    [[13, 14, 15, 16, 17], [9, 21], []],
    [[], [], [22, 23]],
    [[], [24], []],
    [[], [26, 27], [28]],
]
Recorded = Callable[[], torch.Tensor]


def graphs(lm: SpeechLM) -> Engine:
    """Graphs that run the step itself, which the CPU can."""

    def record(run: Recorded) -> Recorded:
        run()
        return run

    return GraphEngine(MergedDecoder(lm), 3, LONGEST, record)


ENGINES = {
    "merged": lambda lm: MergedEngine(MergedDecoder(lm), 3, LONGEST),
    "graphs": graphs,
    "cached": lambda lm: CachedEngine(lm, LONGEST),
    "uncached": UncachedEngine,
    "native": lambda lm: NativeEngine(NativeDecoder(lm, "exact"), 3, LONGEST),
}


@pytest.mark.parametrize("name", ENGINES)
@torch.no_grad()
def test_a_row_that_reads_nothing_goes_on_from_where_it_stood(lm: SpeechLM, name: str) -> None:
    if name == "native" and not is_available():
        pytest.skip("no C++ compiler")
    engine, held = ENGINES[name](lm), [list(prompt) for prompt in PROMPTS]
    engine.prefill([torch.tensor(prompt) for prompt in PROMPTS])
    for pending in STEPS:
        logits = engine.logits(engine.extend(pending), speech_outputs(lm))
        for row, new in enumerate(pending):
            held[row] += new
            if new:
                columns = [token for stretch in speech_outputs(lm) for token in stretch]
                expected = lm(torch.tensor([held[row]]))[0, -1, columns]
                torch.testing.assert_close(logits[row], expected, rtol=1e-4, atol=1e-4)
    assert len(held[0]) == LONGEST
