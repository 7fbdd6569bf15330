"""One table: every head x every promise, rows chosen by traits."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from modicum.adaptation.learner import HeadLearner
from modicum.adaptation.saving import load_adapted, save_adapted
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.configs import BatchNorm
from modicum.episodes.interfaces import AbstractHead, AbstractLearner
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError, DataError
from modicum.registry import HEADS, LEARNERS, resolve

E, N, K, Q, D = 3, 4, 3, 5, 7


def make(name: str, width: int = D) -> AbstractHead:
    kind = resolve("method", HEADS, name)
    wanted = {"n_features": width} if "n_features" in inspect.signature(kind).parameters else {}
    head: AbstractHead = kind(**wanted).double()
    return head


def make_learner(name: str, encoder: Encoder, mode: BatchNorm) -> AbstractLearner:
    if name in HEADS:
        return HeadLearner(encoder, make(name, encoder.n_features).float(), mode)
    learner: AbstractLearner = resolve("learner", LEARNERS, name)(encoder, batch_norm=mode)
    return learner


def episode(n: int = N) -> tuple[LabelledSet, torch.Tensor]:
    y = torch.arange(n).repeat_interleave(K).expand(E, -1)
    z = torch.randn(E, n * K, D, dtype=torch.float64)
    return LabelledSet(z, y, id=torch.arange(E * n * K).reshape(E, -1)), torch.randn(E, Q, D, dtype=torch.float64)


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> AbstractHead:
    return make(request.param)


def test_batch_of_tasks_equals_the_loop(head: AbstractHead) -> None:
    support, query = episode()
    together = head.fit(support, N)(query)
    for e in range(E):
        alone = head.fit(LabelledSet(support.x[e], support.y[e]), N)(query[e])
        assert torch.allclose(together[e], alone, atol=1e-12)


def test_support_order_does_not_matter(head: AbstractHead) -> None:
    support, query = episode()
    order = torch.randperm(N * K)
    shuffled = LabelledSet(support.x[:, order], support.y[:, order])
    assert torch.allclose(head.fit(shuffled, N)(query), head.fit(support, N)(query), atol=1e-10)


def test_renaming_labels_renames_logits(head: AbstractHead) -> None:
    support, query = episode()
    new = torch.randperm(N)
    renamed = head.fit(support._replace(y=new[support.y]), N)(query)
    assert torch.allclose(renamed[..., new], head.fit(support, N)(query), atol=1e-10)


def test_fit_changes_nothing_and_knows_its_support(head: AbstractHead) -> None:
    before = {name: value.clone() for name, value in head.state_dict().items()}
    support, query = episode()
    adapted = head.fit(support, N)
    adapted(query)
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())
    assert torch.equal(adapted.support_ids, support.id)


def test_padding_is_as_if_absent(head: AbstractHead) -> None:
    support, query = episode()
    keep = torch.ones(E, N * K, dtype=torch.bool)
    keep[:, 1::K] = False
    masked = head.fit(support._replace(mask=keep), N)(query)
    bare = LabelledSet(support.x[keep].reshape(E, -1, D), support.y[keep].reshape(E, -1))
    assert torch.allclose(masked, head.fit(bare, N)(query), atol=1e-10)


def test_absent_ways_get_no_probability(head: AbstractHead) -> None:
    support, query = episode()
    present = torch.tensor([True, True, False, True]).expand(E, -1)
    keep = present.gather(1, support.y)
    logits = head.fit(support._replace(mask=keep), N, present)(query)
    assert (logits[..., 2] == float("-inf")).all()
    three = LabelledSet(support.x[keep].reshape(E, -1, D), torch.arange(3).repeat_interleave(K).expand(E, -1))
    assert torch.allclose(logits[..., [0, 1, 3]], head.fit(three, 3)(query), atol=1e-10)


def test_hard_labels_as_soft_ones_are_the_same(head: AbstractHead) -> None:
    """Where the trait says that soft labels are honoured; refused elsewhere."""
    support, query = episode()
    soft = torch.nn.functional.one_hot(support.y, N).double()
    if not head.traits.soft_labels:
        with pytest.raises(ConfigError, match="soft labels"):
            head.fit(support._replace(soft=soft), N)
        return
    assert torch.allclose(head.fit(support._replace(soft=soft), N)(query), head.fit(support, N)(query))


@pytest.mark.parametrize("n", [2, 6])
def test_any_number_of_ways(head: AbstractHead, n: int) -> None:
    """Classes along axes of their own are told apart whatever their number."""
    support, _ = episode(n)
    axes = 10 * torch.eye(D, dtype=torch.float64)[:n]
    apart = support._replace(x=axes[support.y] + 0.1 * support.x)
    assert torch.equal(head.fit(apart, n)(axes.expand(E, -1, -1)).argmax(-1), torch.arange(n).expand(E, -1))


def test_gradients_are_right_and_reach_every_parameter(head: AbstractHead) -> None:
    """Off the start, where a layer may be 0 on purpose (`mct`) and hide those before it from the first step."""
    support, query = episode()
    for p in head.parameters():
        p.data += 0.1 * torch.rand_like(p)
    z = support.x[:1, ::2].clone().requires_grad_()
    y = support.y[:1, ::2]

    def logits(z: torch.Tensor, q: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = head.fit(LabelledSet(z, y), N)(q)
        return out

    q = query[:1, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(logits, (z, q, *head.parameters()))
    logits(z, q).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_other_queries_change_a_query_only_where_transductive(head: AbstractHead) -> None:
    support, query = episode()
    predictor = head.fit(support, N)
    alone = torch.cat([predictor(query[:, i : i + 1]) for i in range(Q)], -2)
    assert torch.allclose(alone, predictor(query), atol=1e-10) is not head.traits.transductive
    assert torch.allclose(predictor(query.flip(-2)).flip(-2), predictor(query), atol=1e-10)


def test_saved_and_loaded_predictor_gives_the_same_bits(head: AbstractHead, tmp_path: Path) -> None:
    support, query = episode()
    adapted = head.fit(support, N)
    save_adapted(adapted, tmp_path / "predictor.safetensors")
    loaded = load_adapted(tmp_path / "predictor.safetensors")
    assert torch.equal(loaded(query), adapted(query))
    assert torch.equal(loaded.support_ids, support.id)


@pytest.mark.parametrize("mode", ["running", "support", "batch"])
@pytest.mark.parametrize("name", [*HEADS, *LEARNERS])
def test_learner_adapts_without_changing_itself_in_every_batch_norm_mode(name: str, mode: BatchNorm) -> None:
    encoder = build_encoder("conv4-32", ImageSpec(16, 1))
    learner = make_learner(name, encoder, mode)
    x = torch.rand(2, N * 2, 1, 16, 16)
    y = torch.arange(N).repeat_interleave(2).expand(2, -1)
    query = torch.rand(2, Q, 1, 16, 16)
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    logits = learner.adapt(LabelledSet(x, y), N)(query)
    assert all(torch.equal(before[key], value) for key, value in learner.state_dict().items())
    for e in range(2):
        assert torch.allclose(learner.adapt(LabelledSet(x[e], y[e]), N)(query[e]), logits[e], atol=1e-4, rtol=1e-4)
    one = learner.adapt(LabelledSet(x, y), N)(query[:, :2])
    sees_other_queries = not torch.allclose(one, logits[:, :2], atol=1e-4, rtol=1e-4)
    assert sees_other_queries == learner.traits.transductive == (mode == "batch" or name == "mct-transductive")


def test_support_mode_depends_on_the_support_statistics() -> None:
    """Brighter support pictures of the same class structure move the queries' features in `support` mode only."""
    encoder = build_encoder("conv4-32", ImageSpec(16, 1))
    y = torch.arange(N).repeat_interleave(2)
    x, query = torch.rand(N * 2, 1, 16, 16), torch.rand(Q, 1, 16, 16)
    for mode, same in (("running", True), ("support", False)):
        learner = HeadLearner(encoder, resolve("method", HEADS, "protonet")(), mode)  # type: ignore[arg-type]
        features = [learner.adapt(LabelledSet(s, y), N).features(query) for s in (x, x * 0.2)]
        assert torch.allclose(*features, atol=1e-5) == same


def test_features_of_another_width_are_refused(head: AbstractHead) -> None:
    support, query = episode()
    predictor = head.fit(support, N)
    with pytest.raises(ConfigError, match=f"expected features of width {D}, .* found {D - 1}"):
        predictor(query[..., 1:])


def test_clear_errors() -> None:
    support, _ = episode()
    for name in HEADS:
        with pytest.raises(ConfigError, match=r"labels: expected 0\.\.1, found 0\.\.3"):
            make(name).fit(support, 2)
        with pytest.raises(DataError, match="class 4 has no picture"):
            make(name).fit(support, 5)
        with pytest.raises(DataError, match="found NaN"):
            make(name).fit(support._replace(x=support.x / 0 * 0), N)
    for name in ("ridge", "r2d2"):
        with pytest.raises(ConfigError, match="penalty: expected more than 0, found 0"):
            resolve("method", HEADS, name)(penalty=0)
    same = LabelledSet(1e6 * torch.randn(1, D).expand(6, D), torch.arange(6) % 2)
    for name in ("ridge", "r2d2", "metaoptnet-rr"):  # identical pictures: the penalty is all that keeps it regular
        with pytest.raises(DataError, match=r"drown the penalty in torch\.float32; divide them by their norm"):
            make(name).float().fit(same, 2)
    with pytest.raises(ConfigError, match="did you mean 'protonet'"):
        resolve("method", HEADS, "protonett")


def test_padding_does_not_enter_the_support_statistics() -> None:
    encoder = build_encoder("conv4-32", ImageSpec(16, 1))
    learner = HeadLearner(encoder, resolve("method", HEADS, "protonet")(), "support")
    y = torch.arange(N).repeat_interleave(2)
    x, query = torch.rand(1, N * 2, 1, 16, 16), torch.rand(1, Q, 1, 16, 16)
    keep = torch.ones(1, N * 2, dtype=torch.bool)
    keep[0, [1, 5]] = False
    padded = learner.adapt(LabelledSet(x, y[None], keep), N)(query)
    bare = learner.adapt(LabelledSet(x[keep][None], y[None][keep][None]), N)(query)
    assert torch.allclose(padded, bare, atol=1e-4, rtol=1e-4)
