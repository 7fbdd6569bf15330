"""Linear CKA: by hand, both forms, invariances, HSIC with centred Grams, and what few pictures do to it."""

import numpy as np
import pytest
import torch

from modicum.errors import DataError
from modicum.evaluation import cka as module
from modicum.evaluation.cka import debiased_cka, linear_cka


def _hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Reference: tr(K H L H) / (n - 1)^2."""
    n = len(k)
    h = np.eye(n) - 1 / n
    return float(np.trace(k @ h @ m @ h)) / (n - 1) ** 2


def test_by_hand() -> None:
    """Centred columns x = (-1, 0, 1), y = (-1, 2, -1) have x.y = 0; with z = (0, 0, 3) -> (-1, -1, 2):

    CKA(x, z) = (x.z)^2 / (x.x z.z) = 9 / (2 * 6) = 0.75, the squared correlation; without centring (3 * 2)^2 / (14 * 9).
    """
    x, y, z = (np.array(column, float)[:, None] for column in ([1, 2, 3], [0, 3, 0], [0, 0, 3]))
    assert linear_cka(x, y) == pytest.approx(0, abs=1e-15)
    assert linear_cka(x, z) == pytest.approx(0.75)
    both = np.concatenate([x, y], 1)  # Y^T X = (3, -3), X^T X diagonal (2, 6): (9 + 9) / (sqrt(40) * 6)
    assert linear_cka(both, z) == pytest.approx(18 / (40**0.5 * 6))


@pytest.mark.parametrize("shape", [(40, 6, 9), (12, 30, 7), (12, 20, 33)])
def test_every_form_is_hsic_with_centred_grams(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n, first, second = shape
    x, y = rng.normal(size=(n, first)) + 5, rng.normal(size=(n, second))
    y[:, :3] += x[:, :3]
    k, m = x @ x.T, y @ y.T
    expected = _hsic(k, m) / np.sqrt(_hsic(k, k) * _hsic(m, m))
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-10)
    assert linear_cka(y, x) == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(module, "NUMBERS", 50)
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-10)


def test_rotation_scale_and_shift_change_nothing_and_a_linear_map_does() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 6)), rng.normal(size=(30, 6))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert linear_cka(x, 7 * x @ turn - 2) == pytest.approx(1)
    assert debiased_cka(x, 7 * x @ turn - 2) == pytest.approx(1)
    assert linear_cka(x @ turn, y) == pytest.approx(linear_cka(x, y))
    assert debiased_cka(3 * x @ turn + 1, y) == pytest.approx(debiased_cka(x, y))
    assert linear_cka(x, x * np.array([9, 1, 1, 1, 1, 1])) < 0.9


def test_unbiased_hsic_is_the_mean_over_quadruples() -> None:
    """Reference by the definition: the U-statistic over ordered quadruples of distinct pictures."""
    from itertools import permutations

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))

    def unbiased(k: np.ndarray, m: np.ndarray) -> float:
        terms = [k[a, b] * (m[a, b] + m[c, d] - 2 * m[a, c]) for a, b, c, d in permutations(range(6), 4)]
        return float(np.mean(terms))

    k, m = x @ x.T, y @ y.T
    expected = unbiased(k, m) / np.sqrt(unbiased(k, k) * unbiased(m, m))
    assert debiased_cka(x, y) == pytest.approx(expected, rel=1e-9)


def test_wide_features_that_share_nothing_look_alike_only_to_the_biased_form() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(60, 4000), torch.randn(60, 4000)
    assert linear_cka(x, y) > 0.9
    assert abs(debiased_cka(x, y)) < 0.1


def test_other_pictures_and_equal_features_are_refused() -> None:
    with pytest.raises(DataError, match="same n >= 2"):
        linear_cka(np.eye(3), np.eye(4))
    with pytest.raises(DataError, match="all rows are equal"):
        linear_cka(np.eye(5), np.ones((5, 2)))
    with pytest.raises(DataError, match="n >= 4"):
        debiased_cka(np.eye(3), np.eye(3))
