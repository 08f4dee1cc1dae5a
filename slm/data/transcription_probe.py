"""Transcriptions of a split, each utterance once: how well a model recognises speech."""

from __future__ import annotations

import numpy as np

from .documents import build_transcription
from .packed_batch import PackedBatch
from .packed_dataset import PackedDataset
from .prompt_probe import packed_alone

# Name of the figure that is measured on the batches.
TEXT_NAME = "valid_nats_per_text_token"


def transcription_probe(dataset: PackedDataset) -> dict[str, list[PackedBatch]]:
    """Pack every utterance that has a text as a transcription.

    Args:
        dataset: Usually of a validation split.

    Returns:
        Batches by the name of their figure; nothing where no utterance has a text.
    """
    index = dataset.index
    documents = [
        build_transcription(dataset.vocabulary, index.codes(item), text_ids)
        for item in np.flatnonzero(index.num_text > 0).tolist()
        if (text_ids := index.text_ids(item)) is not None
    ]
    return {TEXT_NAME: list(packed_alone(dataset, documents))} if documents else {}
