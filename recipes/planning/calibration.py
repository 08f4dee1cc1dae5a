"""Measurement of a training step on the device at hand, by models of one and of three layers.

A step of a model with L layers is taken to cost t1 + (L - 1) (t3 - t1) / 2, where t1 and t3 are
those of the same width, rows and precision with one and with three: embedding, head, loss and
their optimizer are in t1, everything else grows with L. Each is the fastest of a few rounds in
which both take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from codec.checks import require
from slm.bench.training import utterances
from slm.data.packed_batch import PackedBatch, stack_rows
from slm.data.packing import pack_best_fit
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from slm.training.config import TrainingSettings
from slm.training.flops import training_flops
from slm.training.optimizers import gradient_norm, new_optimizer

LAYERS = (1, 3)


@dataclass(frozen=True)
class Calibration:
    """A measured training step."""

    device: str  # cpu, or the GPU's name
    threads: int  # of the CPU
    rows: int  # packed rows of the batch
    first_seconds: float  # a step with one layer
    layer_seconds: float  # of each further layer
    layer_tflops: float  # sustained in layers, 10^12 operations a second, recomputation not counted

    def step_seconds(self, num_layers: int, rows: int, batches: int = 1) -> float:
        """Compute the seconds of a step of `batches` batches of `rows` rows on one such device."""
        once = self.first_seconds + (num_layers - 1) * self.layer_seconds
        return batches * once * rows / self.rows


def calibrate(
    config: SpeechLMConfig,
    *,
    rows: int,
    seq_len: int,
    device: str = "cpu",
    bf16: bool = False,
    recompute: bool = False,
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> Calibration:
    """Measure training steps of this width on a device.

    Args:
        config: Of the model that is planned.
        rows: Of a device's batch.
        seq_len: Tokens of a row.
        device: cpu or cuda.
        bf16: Autocast to bfloat16.
        recompute: Whether activations are recomputed (activation checkpointing).
        rounds: Of which the fastest counts; one more comes first and does not.
        clock: Seconds; `time.process_time` counts those of the CPU, on a machine that is shared.

    Raises:
        ValueError: No such device.
    """
    is_there = device != "cuda" or torch.cuda.is_available()
    require(is_there, "device", "cpu where there is no CUDA device", device)
    steps: list[Callable[[], None]] = []
    work: list[float] = []
    for layers in LAYERS:
        torch.manual_seed(0)
        lm = SpeechLM(replace(config, num_layers=layers, max_seq_len=seq_len)).train().to(device)
        batch = packed_utterances(lm, rows, seq_len)
        work.append(training_flops(lm.config, batch))
        lm.recompute_activations(recompute)
        steps.append(_step(lm, batch, device, bf16))
    best = [float("inf")] * len(LAYERS)
    for number in range(rounds + 1):
        for place, step in enumerate(steps):
            start = clock()
            step()
            # The first round compiles kernels and fills caches.
            if number:
                best[place] = min(best[place], clock() - start)
    layer = max(1e-9, (best[1] - best[0]) / (LAYERS[1] - LAYERS[0]))
    flops = (work[1] - work[0]) / (LAYERS[1] - LAYERS[0])
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return Calibration(name, torch.get_num_threads(), rows, best[0], layer, flops / layer / 1e12)


def packed_utterances(lm: SpeechLM, rows: int, seq_len: int) -> PackedBatch:
    """Pack utterances of 8 to 12 s into full rows, as training does."""
    count = -(-rows * seq_len // 200)
    documents = utterances(lm, max(count, 4 * rows))
    documents = [each for each in documents if len(each.tokens) <= seq_len]
    packed = pack_best_fit([len(each.tokens) for each in documents], seq_len)
    chosen = [[documents[number] for number in row] for row in packed[:rows]]
    return stack_rows(chosen, seq_len, lm.vocabulary.pad_id)


def _step(lm: SpeechLM, batch: PackedBatch, device: str, bf16: bool) -> Callable[[], None]:
    """A closure that makes one optimizer step like training, and waits for the device."""
    settings = TrainingSettings(max_steps=100)
    optimizer = new_optimizer(lm, lm.embedding.weight, lm.head.weight, settings)
    batch = PackedBatch(*(tensor.to(device) for tensor in batch))

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss = lm.loss(
                batch.tokens,
                batch.loss_weights,
                positions=batch.positions,
                document_ids=batch.document_ids,
            )
        optimizer.zero_grad()
        loss.backward()
        norm = gradient_norm(lm.parameters())
        torch.nn.utils.clip_grads_with_norm_(lm.parameters(), settings.gradient_clip, norm)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return step
