"""The Crammer-Singer dual against hand-worked cases, LIBLINEAR, SciPy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.svm import LinearSVC
from torch import Tensor
from torch.nn.functional import one_hot

from modicum.adaptation.solvers.crammer_singer import kkt_residual, solve_dual
from modicum.errors import ConfigError, DataError


def task(ways: int, shots: int, width: int, batch: int = 2, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Features (batch, S, width) around class means and one-hot labels."""
    y = torch.arange(ways).repeat_interleave(shots).expand(batch, -1)
    means = torch.randn(batch, ways, width, dtype=torch.float64)
    z = means.gather(1, y.unsqueeze(-1).expand(-1, -1, width)) + spread * torch.randn(batch, ways * shots, width).double()
    return z, one_hot(y, ways).double()


def weights(z: Tensor, labels: Tensor, C: float) -> Tensor:
    return z.mT @ solve_dual(z @ z.mT, labels, C).alpha


def liblinear(z: Tensor, labels: Tensor, C: float) -> Tensor:
    """W (D, N) by coordinate descent on the primal's dual, an independent code; at least 3 ways."""
    svm = LinearSVC(multi_class="crammer_singer", C=C, fit_intercept=False, tol=1e-12, max_iter=1_000_000, random_state=0)
    return torch.from_numpy(svm.fit(z.numpy(), labels.argmax(-1).numpy()).coef_.T)


@pytest.mark.parametrize(("C", "expected"), [(1.0, 0.25), (0.1, 0.1)])
def test_two_points_on_a_line(C: float, expected: float) -> None:
    """x = 1 (class 0), -1 (class 1): alpha = (p, -p), (-p, p), w = (2p, -2p), objective 4 p^2 - 2 p: p = 1/4, at most C.

    Without the coupling sum_k alpha_ik = 0 of the ways, alpha would be the identity at C = 1.
    """
    kernel, labels = torch.tensor([[1.0, -1], [-1, 1]]).double(), torch.eye(2).double()
    solution = solve_dual(kernel, labels, C)
    p = torch.tensor([[1.0, -1], [-1, 1]]).double() * expected
    assert torch.allclose(solution.alpha, p, atol=1e-10)
    assert solution.residual < 1e-9


def test_three_classes_share_the_push() -> None:
    """Pictures along three axes: alpha_ii = p, alpha_ik = -p/2, w_k . x_i = alpha_ik, margin 1.5 p = 1, so p = 2/3."""
    alpha = solve_dual(torch.eye(3).double(), torch.eye(3).double(), 5.0).alpha
    assert torch.allclose(alpha, torch.eye(3).double() - 1 / 3, atol=1e-10)


@pytest.mark.parametrize(("ways", "shots"), [(5, 1), (5, 5), (5, 15), (5, 30), (20, 5), (3, 2)])
@pytest.mark.parametrize("C", [0.1, 1.0])
def test_weights_agree_with_liblinear(ways: int, shots: int, C: float) -> None:
    z, labels = task(ways, shots, 24, batch=1)
    assert torch.allclose(weights(z, labels, C)[0], liblinear(z[0], labels[0], C), atol=1e-6)


def test_two_ways_agree_with_scipy() -> None:
    """Two ways by SLSQP on the dual itself: box and row sums as constraints."""
    z, labels = task(2, 4, 6, batch=1)
    kernel, y = (z[0] @ z[0].T).numpy(), labels[0].numpy()

    def objective(alpha: np.ndarray) -> tuple[float, np.ndarray]:
        a = alpha.reshape(y.shape)
        return 0.5 * np.sum(a * (kernel @ a)) - np.sum(a * y), (kernel @ a - y).ravel()

    rows = {
        "type": "eq",
        "fun": lambda a: a.reshape(y.shape).sum(1),
        "jac": lambda a: np.kron(np.eye(len(y)), np.ones((1, 2))),
    }
    bounds = [(None, 0.3 * upper) for upper in y.ravel()]
    start = np.zeros(y.size)
    options = {"ftol": 1e-15, "maxiter": 1000}
    best = minimize(objective, start, jac=True, bounds=bounds, constraints=rows, method="SLSQP", options=options)
    expected = z[0].T @ torch.from_numpy(best.x.reshape(y.shape))
    assert torch.allclose(weights(z, labels, 0.3)[0], expected, atol=1e-6)


@pytest.mark.parametrize("shots", [1, 5, 15, 30])
@pytest.mark.parametrize("ways", [2, 5, 20])
@pytest.mark.parametrize("size", [0.03, 1.0, 30.0])
def test_residual_in_both_precisions(ways: int, shots: int, size: float) -> None:
    """At most 1e-9 from float64 features and 1e-4 from float32 ones, whatever the size of the features."""
    if ways * shots > 150:
        ways = 150 // shots
    z, labels = task(ways, shots, 64, spread=3.0)
    z = size * z
    assert solve_dual(z @ z.mT, labels, 0.1).residual.max() < 1e-9
    low = z.float().double()
    solution = solve_dual(low @ low.mT, labels, 0.1, dtype=torch.float32)
    assert solution.alpha.dtype == torch.float32
    assert solution.residual.max() < 1e-4


def test_residual_tells_solutions_from_others() -> None:
    z, labels = task(3, 2, 8)
    kernel = z @ z.mT
    alpha = solve_dual(kernel, labels, 0.1).alpha
    for wrong in (torch.zeros_like(alpha), 1.01 * alpha, alpha + 1e-3):
        assert (kkt_residual(kernel, labels, wrong, 0.1) > 1e-4).all()


def degenerate(kind: str) -> tuple[Tensor, Tensor]:
    z, labels = task(5, 6, 10)
    if kind == "identical within a class":
        z = z[:, torch.arange(5).repeat_interleave(6) * 6]
    elif kind == "identical across classes":
        z = z[:, torch.arange(30) % 3]
    elif kind == "all zero":
        z = torch.zeros_like(z)
    elif kind == "one dimension":
        z = z[..., :1]
    return z, labels


KINDS = ["identical within a class", "identical across classes", "all zero", "one dimension"]


@pytest.mark.parametrize("C", [0.1, 10.0])
@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_tasks(kind: str, C: float) -> None:
    """Singular kernels: alpha is not unique, W is."""
    z, labels = degenerate(kind)
    solution = solve_dual(z @ z.mT, labels, C)
    assert solution.residual.max() < 1e-9
    found = z.mT @ solution.alpha
    if kind == "all zero":
        assert (found == 0).all()
    else:
        assert torch.allclose(found[0], liblinear(z[0], labels[0], C), atol=1e-6)


@pytest.mark.parametrize(("ways", "shots", "C"), [(2, 1, 0.1), (3, 1, 5.0), (5, 1, 0.3), (3, 4, 0.1), (4, 3, 0.05)])
def test_gradients_of_the_weights(ways: int, shots: int, C: float) -> None:
    z, labels = task(ways, shots, 7, batch=2 if shots == 1 else 1)
    assert torch.autograd.gradcheck(lambda z: weights(z, labels, C), z.requires_grad_(), atol=1e-6)


def test_gradient_at_thirty_shots() -> None:
    """Along one direction, where the whole Jacobian would be long."""
    z, labels = task(5, 30, 20, batch=1)
    direction, pick = torch.randn_like(z), torch.randn(1, 20, 5).double()
    leaf = z.clone().requires_grad_()
    (weights(leaf, labels, 0.1) * pick).sum().backward()
    up, down = ((weights(z + sign * 1e-6 * direction, labels, 0.1) * pick).sum() for sign in (1, -1))
    assert torch.allclose((leaf.grad * direction).sum(), (up - down) / 2e-6, rtol=1e-5)


def test_gradient_through_identical_pictures() -> None:
    """The kernel is singular, yet moving a picture with all its copies has a derivative."""
    z, labels = task(3, 1, 6)
    copies = torch.arange(3).repeat_interleave(3)
    assert torch.autograd.gradcheck(lambda z: weights(z[:, copies], labels[:, copies], 0.05), z.requires_grad_(), atol=1e-6)


def test_entries_that_are_not_there() -> None:
    """A padded picture and an absent way leave the rest as it would be without them, to the gradient."""
    z, labels = task(4, 3, 9)
    keep, there = torch.ones(2, 12, dtype=torch.bool), torch.tensor([True, True, False, True])
    keep[:, [1, 6, 7, 8]] = False
    present = keep.unsqueeze(-1) & there
    z.requires_grad_()
    solution = solve_dual(z @ z.mT, labels, 0.1, present)
    small = z[:, keep[0]]
    bare = solve_dual(small @ small.mT, labels[:, keep[0]][..., there], 0.1)
    assert (solution.alpha[~present] == 0).all()
    assert torch.allclose(solution.alpha[:, keep[0]][..., there], bare.alpha, atol=1e-12)
    pick = torch.randn(2, 8, 3).double()
    (expected,) = torch.autograd.grad((bare.alpha * pick).sum(), z, retain_graph=True)
    (found,) = torch.autograd.grad((solution.alpha[:, keep[0]][..., there] * pick).sum(), z)
    assert torch.allclose(found, expected, atol=1e-8)


def test_a_hard_task_does_not_move_its_neighbour() -> None:
    """The batch goes on iterating for the hard task; the easy one stays where it converged."""
    z, labels = task(5, 5, 12)
    z[1] = 50 * z[1, torch.arange(25) % 4]
    together = solve_dual(z @ z.mT, labels, 1.0).alpha[0]
    assert torch.allclose(together, solve_dual(z[0] @ z[0].mT, labels[0], 1.0).alpha, atol=1e-13)


def test_clear_errors() -> None:
    kernel, labels = torch.eye(3), torch.eye(3)
    for C in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="C: expected a finite number more than 0"):
            solve_dual(kernel, labels, C)
    with pytest.raises(ConfigError, match=r"kernel: expected a square matrix .* found shape \(3, 2\)"):
        solve_dual(kernel[:, :2], labels, 1.0)
    with pytest.raises(ConfigError, match="labels: expected"):
        solve_dual(kernel, labels[:2], 1.0)
    with pytest.raises(ConfigError, match="at least 2 ways, found 1"):
        solve_dual(kernel, labels[:, :1], 1.0)
    with pytest.raises(DataError, match="kernel: expected finite numbers"):
        solve_dual(kernel / 0, labels, 1.0)
    with pytest.raises(DataError, match="kernel: expected a positive semi-definite matrix"):
        solve_dual(kernel - 3 * (1 - kernel), labels, 1.0)
