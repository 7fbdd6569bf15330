"""phi of a trained MCT head, in numpy: the same numbers, and the same bits in any batch."""

import numpy as np
import pytest
import torch

from modicum.adaptation.mct import phi
from modicum.classifiers.learned import LearnedLength, learned_length
from modicum.errors import DataError


def test_phi_is_that_of_the_head(mct) -> None:
    head, x = mct(37), np.random.default_rng(0).normal(size=(20, 37)).astype(np.float32) + 1
    x[3] = 0
    with torch.no_grad():
        expected = phi(torch.from_numpy(x).double(), head.double().metric.tensors()).numpy()
    found = learned_length(head.metric)(x)
    assert found == pytest.approx(expected, abs=1e-6)
    lengths = np.sqrt((found**2).sum(1))
    assert np.ptp(lengths[lengths > 0]) > 0.05  # a constant length would be a nearest mean by angle
    assert not found[3].any()


def test_a_row_does_not_depend_on_its_batch(mct) -> None:
    learned, x = learned_length(mct(131).metric), np.random.default_rng(0).normal(size=(67, 131))
    together = learned(x)
    assert all((learned(x[i : i + 1])[0] == together[i]).all() for i in range(67))
    assert (learned(x[::-1])[::-1] == together).all()


def test_arrays_and_back_to_the_bit(mct) -> None:
    learned, x = learned_length(mct(8).metric), np.random.default_rng(0).normal(size=(5, 8))
    assert (LearnedLength.from_arrays(learned.arrays())(x) == learned(x)).all()


def test_another_width_is_refused(mct) -> None:
    with pytest.raises(DataError, match="expected width 8, which mct was trained for, found 9"):
        learned_length(mct(8).metric)(np.zeros((1, 9)))
