"""Documents that show how much of a voice a model takes from a prompt.

The same speech after a prompt of its own speaker, after one of a stranger's and after none: a model
that uses prompts finds it likelier in this order. Their differences are the curve of zero-shot in
training, which a loss without prompts does not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from .document_plans import DocumentPlan, plan_documents
from .documents import Document
from .packed_batch import PackedBatch, stack_rows
from .packed_dataset import PackedDataset
from .packing import pack_best_fit

# Names of the figures that are measured on the batches of a kind.
OWN, STRANGER, NONE = "valid_nats_own_prompt", "valid_nats_stranger_prompt", "valid_nats_no_prompt"


def prompt_probe(dataset: PackedDataset, most: int) -> dict[str, list[PackedBatch]]:
    """Pack the same utterances after prompts of their own speakers, of strangers and of nobody.

    Utterances have their text where they have one, and prompts as long as in training. Speakers
    take turns, so that one with many utterances does not fill the probe. The own prompt is of
    another utterance, or the first part of the recording where there is none; the stranger's has
    the same length and is one that another of the utterances has as its own.

    Args:
        dataset: Usually of a validation split; its seed draws the prompts.
        most: Utterances, at most; 0 for no probe.

    Returns:
        Batches by the name of their figure, of the same codes each; without strangers where there
        is one speaker, and nothing at all where no utterance has a prompt.
    """
    plans = _prompted(dataset)[:most]
    if not plans:
        return {}
    own = [_prompt(dataset, plan) for plan in plans]
    strangers = [_stranger(dataset, plans, index) for index in range(len(plans))]
    kinds: dict[str, list[Document]] = {OWN: [], NONE: []}
    if all(stranger >= 0 for stranger in strangers):
        kinds[STRANGER] = []
    for plan, prompt, stranger in zip(plans, own, strangers, strict=True):
        if STRANGER in kinds:
            # Cut at their starts: the first part of a recording is to end where the rest begins.
            length = min(len(prompt), len(own[stranger]))
            prompt = prompt[-length:]
            kinds[STRANGER].append(dataset.document(plan, own[stranger][-length:]))
        kinds[OWN].append(dataset.document(plan, prompt))
        kinds[NONE].append(dataset.document(plan, None))
    return {name: list(packed_alone(dataset, each)) for name, each in kinds.items()}


def _prompted(dataset: PackedDataset) -> list[DocumentPlan]:
    """Plans of all utterances that can have a prompt, the first of every speaker, the second ..."""
    index = dataset.index
    settings = replace(
        dataset.settings.without_augmentation(),
        prompt_probability=1.0,
        own_recording_prompts=True,
    )
    items = np.arange(len(index), dtype=np.int32)
    # A stream of its own (4): the probe changes no draw of an epoch.
    draws = np.random.default_rng([dataset.seed, 0, 4]).random((len(index), 7))
    planned = plan_documents(index, settings, items, draws, dataset.seq_len)
    columns = [planned[name].tolist() for name in DocumentPlan._fields]
    plans = [DocumentPlan(*values) for values in zip(*columns, strict=True)]
    seen: dict[int, int] = {}
    turns: list[tuple[int, DocumentPlan]] = []
    for plan in plans:
        speaker = index.speaker(plan.item)
        if plan.prompt_item >= 0 and speaker >= 0:
            seen[speaker] = seen.get(speaker, 0) + 1
            turns.append((seen[speaker], plan))
    # A stable sort: so that `most` utterances are of as many speakers as there are.
    return [plan for _, plan in sorted(turns, key=lambda each: each[0])]


def _prompt(dataset: PackedDataset, plan: DocumentPlan) -> np.ndarray:
    prompt = dataset.prompt_of(plan)
    assert prompt is not None
    return prompt


def _stranger(dataset: PackedDataset, plans: Sequence[DocumentPlan], index: int) -> int:
    """Number of the next plan, around the end, that is of another speaker; -1 for none."""
    speaker = dataset.index.speaker(plans[index].item)
    for step in range(1, len(plans)):
        other = (index + step) % len(plans)
        if dataset.index.speaker(plans[other].item) != speaker:
            return other
    return -1


def packed_alone(dataset: PackedDataset, documents: Sequence[Document]) -> Iterator[PackedBatch]:
    """Batches of documents of their own, as many rows each as the dataset's."""
    rows = pack_best_fit([len(document.tokens) for document in documents], dataset.seq_len)
    for first in range(0, len(rows), dataset.batch_size):
        group = [[documents[n] for n in row] for row in rows[first : first + dataset.batch_size]]
        yield stack_rows(group, dataset.seq_len, dataset.vocabulary.pad_id)
