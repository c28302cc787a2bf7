"""The binary tree of hierarchical softmax: Huffman, 1952; Morin and Bengio, 2005; arXiv:1310.4546, section 2.1."""

from __future__ import annotations

import heapq

import numpy as np


def huffman_paths(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The path from the root to every word in a tree that has frequent words near its root.

    Args:
        counts: (V,) of integers, V >= 1.
    Returns:
        ``offsets``, (V + 1,) of int64; ``nodes`` (int32) and ``codes`` (uint8). The path to word w turns to child
        ``codes[i]`` at inner node ``nodes[i]``, for i from ``offsets[w]`` to ``offsets[w + 1]``. There are V - 1 inner
        nodes; the last one is the root.
    """
    words = len(counts)
    heap = [(int(count), node) for node, count in enumerate(counts)]
    heapq.heapify(heap)
    parent = np.zeros(2 * words - 1, dtype=np.int64)
    turn = np.zeros(2 * words - 1, dtype=np.uint8)
    for node in range(words, 2 * words - 1):
        (count_0, child_0), (count_1, child_1) = heapq.heappop(heap), heapq.heappop(heap)
        parent[child_0] = parent[child_1] = node
        turn[child_1] = 1
        heapq.heappush(heap, (count_0 + count_1, node))

    root = 2 * words - 2
    depth = np.zeros(2 * words - 1, dtype=np.int64)
    for node in range(root - 1, -1, -1):  # a parent's number is larger than its children's
        depth[node] = depth[parent[node]] + 1
    offsets = np.concatenate([[0], np.cumsum(depth[:words])]).astype(np.int64)
    nodes = np.zeros(offsets[-1], dtype=np.int32)
    codes = np.zeros(offsets[-1], dtype=np.uint8)
    climber, place = np.arange(words), offsets[1:] - 1  # climb from all words to the root at once
    while (below := climber != root).any():
        climber, place = climber[below], place[below]
        nodes[place] = parent[climber] - words
        codes[place] = turn[climber]
        climber, place = parent[climber], place - 1
    return offsets, nodes, codes
