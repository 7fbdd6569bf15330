"""Blocks are used again when, and only when, nobody looks into them."""

from __future__ import annotations

import threading

import numpy as np
import torch

from modicum.quantization.integer.buffers import SMALLEST, empty, release


def address(x: np.ndarray) -> int:
    return x.ctypes.data


def test_a_block_nobody_refers_to_is_used_again():
    release()
    x = empty((SMALLEST,), np.float32)
    first = address(x)
    assert address(empty((SMALLEST,), np.float32)) != first  # x is in use
    del x
    y = empty((SMALLEST // 4, 4), np.int32)
    assert address(y) == first
    assert (y.shape, y.dtype) == ((SMALLEST // 4, 4), np.int32)


def test_views_and_tensors_keep_a_block():
    release()
    for look in (lambda x: x[5:7], lambda x: x.reshape(-1, 2).T, torch.from_numpy, lambda x: torch.from_numpy(x)[:3]):
        x = empty((SMALLEST,), np.float32)
        first, kept = address(x), look(x)
        del x
        others = [empty((SMALLEST,), np.float32) for _ in range(4)]
        assert first not in [address(other) for other in others]
        del kept, others


def test_much_larger_blocks_are_left_to_larger_values():
    release()
    large = address(empty((SMALLEST * 10,), np.uint8))
    assert address(empty((SMALLEST,), np.uint8)) != large
    assert address(empty((SMALLEST * 9,), np.uint8)) == large


def test_threads_have_blocks_of_their_own():
    release()
    first = address(empty((SMALLEST,), np.float32))
    found = []
    thread = threading.Thread(target=lambda: found.append(address(empty((SMALLEST,), np.float32))))
    thread.start()
    thread.join()
    assert found != [first]
    assert address(empty((SMALLEST,), np.float32)) == first
