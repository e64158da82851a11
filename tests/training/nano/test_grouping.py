from __future__ import annotations

import numpy as np

from qwen3_rag.training.nano.grouping import grouped, spherical_kmeans
from qwen3_rag.training.pairs import Pair


def three_bunches() -> np.ndarray:
    generator = np.random.default_rng(1)
    directions = np.repeat(np.eye(8, dtype=np.float32)[:3], 40, axis=0)
    return directions * generator.uniform(0.5, 5, (120, 1)).astype(np.float32) + generator.normal(0, 0.05, (120, 8)).astype(np.float32)


def test_bunches_become_groups_whatever_their_lengths():
    for seed in range(5):
        found = spherical_kmeans(three_bunches(), 6, seed)
        for group in set(found.tolist()):
            members = np.flatnonzero(found == group) // 40
            assert len(set(members.tolist())) == 1, (seed, group)


def test_the_same_every_time_and_no_more_groups_than_rows():
    vectors = three_bunches()
    assert spherical_kmeans(vectors, 4, 7).tolist() == spherical_kmeans(vectors, 4, 7).tolist()
    assert sorted(spherical_kmeans(np.eye(3, dtype=np.float32), 9, 0).tolist()) == [0, 1, 2]


def test_a_group_is_a_pairs_source():
    pairs = [Pair(f"question {number}", f"answer {number}", source="people", language="en") for number in range(3)]
    found = list(grouped(pairs, np.eye(3, dtype=np.float32), 3, 0))
    assert len({pair.source for pair in found}) == 3
    assert [(pair.query, pair.language) for pair in found] == [(pair.query, "en") for pair in pairs]
