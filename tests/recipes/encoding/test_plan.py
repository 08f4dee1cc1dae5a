"""Shards and batches follow from the lengths of clips alone."""

import itertools

from recipes.encoding.clips import Clip, Span
from recipes.encoding.plan import plan_batches, plan_shards


def clips_of(lengths):
    return [
        Clip({"id": f"c{n}"}, Span("x", 0, 1024 * count), count) for n, count in enumerate(lengths)
    ]


def test_a_shard_ends_with_the_clip_that_fills_it():
    shards = plan_shards("train", clips_of([4, 4, 4, 30, 1, 1]), 10)
    assert [[clip.num_codes for clip in shard.clips] for shard in shards] == [
        [4, 4, 4],
        [30],
        [1, 1],
    ]
    assert [shard.index for shard in shards] == [0, 1, 2]
    assert len({shard.plan for shard in shards}) == 3


def test_batches_hold_clips_of_like_length_and_every_clip_once():
    lengths = [3, 50, 7, 3, 120, 8, 3, 49]
    (shard,) = plan_shards("train", clips_of(lengths), 10_000)
    batches = list(plan_batches(shard, 100))
    assert [[lengths[p] for p in batch.positions] for batch in batches] == [
        [120],
        [50, 49],
        [8, 7, 3, 3, 3],
    ]
    assert sorted(itertools.chain(*(batch.positions for batch in batches))) == list(range(8))
