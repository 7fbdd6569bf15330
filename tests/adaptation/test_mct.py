"""MCT: equations by hand, a loop over tasks, queries and classes, and what transduction means."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from modicum.adaptation.cosine import CosineHead
from modicum.adaptation.mct import (
    MCTHead,
    MCTTransductiveHead,
    Scaling,
    distances,
    instance_sigma,
    pair_sigma,
    phi,
    refined_prototypes,
)
from modicum.adaptation.protonet import ProtoNetHead
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError

# Class 0 has mean (0, 2) (its unit vectors average to another direction), class 1 is (4, 0), the query (3, 4).
SUPPORT = LabelledSet(torch.tensor([[1.0, 1.0], [-1.0, 3.0], [4.0, 0.0]], dtype=torch.float64), torch.tensor([0, 0, 1]))
QUERY = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
SCALE = math.log(3) / 0.4  # squared distances 0.4 and 0.8 of unit vectors become odds of 3 : 1


def f64(value: float | list[float]) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def moved(head: MCTHead | MCTTransductiveHead) -> MCTHead | MCTTransductiveHead:
    """The head in float64 with every parameter off its start, so that sigma differs between pictures."""
    generator = torch.Generator().manual_seed(3)
    for p in head.double().parameters():
        p.data += 0.7 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return head


def episode(tasks: int = 2, ways: int = 3, shots: int = 2, queries: int = 5, width: int = 4) -> tuple[LabelledSet, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(tasks, ways * shots, width, generator=generator, dtype=torch.float64)
    y = torch.arange(ways).repeat_interleave(shots).expand(tasks, -1)
    return LabelledSet(x, y), torch.randn(tasks, queries, width, generator=generator, dtype=torch.float64)


def test_sigma_and_phi_by_hand() -> None:
    """Layer norm of (3, 4) is (-1, 1), g = ln 3, sigmoid 3/4, sigma = 4 * 3/4 + 1; phi divides by it: (0.6, 0.8) / 4."""
    scaling = Scaling(2 * torch.eye(2).double(), *map(f64, ([0.0, 0.0], [1.0, math.log(3) / 2], 0.0, math.log(4), 0.0)))
    sigma = instance_sigma(QUERY, scaling)
    assert torch.allclose(sigma, torch.tensor([4.0]).double(), atol=1e-4)
    assert torch.allclose(phi(QUERY, scaling), torch.tensor([[0.15, 0.2]]).double(), atol=1e-5)


def test_one_soft_k_means_step_by_hand() -> None:
    """q = (3/4, 1/4); c_0 = ((0, 4) + q_0 (3, 4)) / (2 + q_0), c_1 = ((4, 0) + q_1 (3, 4)) / (1 + q_1).

    Unnormalised features, distances instead of squares, hard confidence and a support that counts once give others.
    """
    head = MCTTransductiveHead(2, scale=SCALE, iterations=1).double().eval()
    classifier = head.fit(SUPPORT, 2)
    refined = classifier.prototypes(QUERY)
    assert torch.allclose(refined, torch.tensor([[9 / 11, 28 / 11], [19 / 5, 4 / 5]]).double(), atol=1e-12)
    cosines = torch.tensor([(3 * 9 + 4 * 28) / (5 * math.hypot(9, 28)), (3 * 19 + 4 * 4) / (5 * math.hypot(19, 4))]).double()
    assert torch.allclose(classifier(QUERY)[0], -SCALE * (2 - 2 * cosines), atol=1e-6)


def test_support_counts_with_its_number_in_one_dimension() -> None:
    """Support 0, 0, 0 and one query at 4 with confidence 1/2: 4/2 / (3 + 1/2) = 4/7, not 4/3 (support counted once)."""
    sums, counts, z = torch.zeros(1, 1), torch.tensor([3.0]), torch.tensor([[4.0]])
    assert refined_prototypes(sums, counts, z, torch.tensor([[0.5]])).item() == pytest.approx(4 / 7)


def test_metric_by_hand_is_squared_and_divides() -> None:
    """Unit vectors at right angles, sigma 2 and 2: squared distance 2/4, in either metric."""
    for pairwise, width in ((False, 2), (True, 4)):
        scaling = Scaling(torch.zeros(1, width).double(), *map(f64, ([0.0], [0.0], 0.0, math.log(2), 0.0)))
        z, c = torch.tensor([[5.0, 0.0]]).double(), torch.tensor([[0.0, 0.1]]).double()
        assert distances(z, c, scaling, pairwise).item() == pytest.approx(0.5)


def slow_logits(
    head: MCTHead | MCTTransductiveHead, x: Tensor, y: Tensor, z: Tensor, iterations: int, pairwise: bool
) -> Tensor:
    """One task, one query and one class at a time, from the equations."""
    scaling, ways = head.metric.tensors(), int(y.max()) + 1

    def distance(a: Tensor, c: Tensor) -> Tensor:
        if pairwise:
            gap = a / a.norm() - c / c.norm()
            return gap.dot(gap) / pair_sigma(a[None], c[None], scaling)[0, 0] ** 2
        gap = a / a.norm() / instance_sigma(a[None], scaling)[0] - c / c.norm() / instance_sigma(c[None], scaling)[0]
        return gap.dot(gap)

    prototypes = [x[y == k].mean(0) for k in range(ways)]
    for _ in range(iterations):
        q = []
        for a in z:
            odds = [torch.exp(-distance(a, c)) for c in prototypes]
            q.append([o / sum(odds) for o in odds])
        prototypes = [
            (sum(x[y == k]) + sum(q[j][k] * z[j] for j in range(len(z)))) / ((y == k).sum() + sum(row[k] for row in q))
            for k in range(ways)
        ]
    return torch.stack([torch.stack([-distance(a, c) for c in prototypes]) for a in z])


@pytest.mark.parametrize("pairwise", [False, True])
@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_agrees_with_the_loop(iterations: int, pairwise: bool) -> None:
    support, query = episode()
    head = moved(MCTTransductiveHead(4, hidden=6, iterations=iterations, pairwise=pairwise)).eval()
    logits = head.fit(support, 3)(query)
    for e in range(2):
        slow = slow_logits(head, support.x[e], support.y[e], query[e], iterations, pairwise)
        assert torch.allclose(logits[e], slow, atol=1e-10)


def test_no_iteration_is_the_inductive_head() -> None:
    support, query = episode()
    inductive, transductive = moved(MCTHead(4)), moved(MCTTransductiveHead(4, iterations=0)).eval()
    transductive.load_state_dict(inductive.state_dict())
    assert torch.equal(transductive.fit(support, 3)(query), inductive.fit(support, 3)(query))


def test_a_fresh_head_is_a_nearest_mean_by_angle() -> None:
    """-s (2 - 2 cos) has the probabilities of a cosine head with scale 2 s, whatever the random hidden weights."""
    support, query = episode()
    fresh = MCTHead(4, scale=5.0).double().fit(support, 3)(query).softmax(-1)
    assert torch.allclose(fresh, CosineHead(10.0).double().fit(support, 3)(query).softmax(-1), atol=1e-6)


def test_inductive_rule_is_linear_after_phi_of_the_class_mean() -> None:
    """What a user's classifier keeps; ProtoNet on phi(x_i), the mean of scaled features, is another rule."""
    support, query = episode()
    head = moved(MCTHead(4))
    predictor = head.fit(support, 3)
    weight, z = phi(predictor.prototypes(query), predictor.scaling), phi(query, predictor.scaling)
    linear = 2 * z @ weight.mT - weight.square().sum(-1).unsqueeze(-2)
    assert torch.allclose(linear.softmax(-1), predictor(query).softmax(-1), atol=1e-10)
    other = ProtoNetHead().double().fit(support._replace(x=phi(support.x, predictor.scaling)), 3)(z)
    assert (other.softmax(-1) - predictor(query).softmax(-1)).abs().max() > 1e-2


def test_queries_move_prototypes_only_where_transductive() -> None:
    support, query = episode()
    order = torch.tensor([3, 0, 4, 1, 2])
    for head, sees in ((moved(MCTHead(4)), False), (moved(MCTTransductiveHead(4)).eval(), True)):
        predictor = head.fit(support, 3)
        logits = predictor(query)
        assert torch.allclose(predictor(query[:, order]), logits[:, order], atol=1e-10)
        assert torch.allclose(predictor(query[:, :2]), logits[:, :2], atol=1e-10) is not sees


def test_mode_chooses_the_number_of_iterations() -> None:
    support, _ = episode()
    head = MCTTransductiveHead(4, iterations=7, train_iterations=2).double()
    assert head.train().fit(support, 3).config["iterations"] == 2
    assert head.eval().fit(support, 3).config["iterations"] == 7


@pytest.mark.parametrize("pairwise", [False, True])
def test_gradient_reaches_every_parameter_through_the_confidence(pairwise: bool) -> None:
    support, query = episode(tasks=1)
    head = moved(MCTTransductiveHead(4, hidden=3, train_iterations=2, pairwise=pairwise))

    def logits(x: Tensor, z: Tensor, *_: Tensor) -> Tensor:
        out: Tensor = head.fit(support._replace(x=x), 3)(z)
        return out

    x, z = support.x.clone().requires_grad_(), query.clone().requires_grad_()
    assert torch.autograd.gradcheck(logits, (x, z, *head.parameters()))
    logits(x, z).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_absent_ways_take_no_query_with_them() -> None:
    support, query = episode()
    head = moved(MCTTransductiveHead(4)).eval()
    present = torch.tensor([True, False, True])
    two = LabelledSet(support.x[:, [0, 1, 4, 5]], torch.tensor([0, 0, 1, 1]).expand(2, -1))
    kept = support._replace(mask=present[support.y])
    logits = head.fit(kept, 3, present.expand(2, -1))(query)
    assert (logits[..., 1] == float("-inf")).all()
    assert torch.allclose(logits[..., [0, 2]], head.fit(two, 2)(query), atol=1e-10)


def test_soft_labels_split_a_picture_between_prototypes() -> None:
    """A picture that is half of each class counts half in each sum and weight: mean (2 + 0.5 * 4) / 1.5, (0.5 * 4) / 0.5."""
    x = torch.tensor([[2.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    soft = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    predictor = MCTHead(2).double().fit(LabelledSet(x, torch.tensor([0, 1]), soft=soft), 2)
    assert torch.allclose(predictor.prototypes(QUERY)[:, 0], torch.tensor([8 / 3, 4.0]).double())


def test_clear_errors() -> None:
    support, query = episode()
    for head in (MCTHead(7).double(), MCTTransductiveHead(7).double()):
        with pytest.raises(ConfigError, match=r"expected features of width 7, .* found 4"):
            head.fit(support, 3)
    with pytest.raises(ConfigError, match=r"expected features of width 4, .* found 3"):
        MCTHead(4).double().fit(support, 3)(query[..., :3])
    with pytest.raises(ConfigError, match="scale: expected more than 0, found 0"):
        MCTHead(4, scale=0)
    with pytest.raises(ConfigError, match="hidden: expected at least 1, found 0"):
        MCTHead(4, hidden=0)
    with pytest.raises(ConfigError, match="iterations: expected at least 0, found -1"):
        MCTTransductiveHead(4, iterations=-1)
