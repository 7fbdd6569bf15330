"""Losses for long tails: eqs. 1-7 of RAC worked by hand, where each likely misreading gives another number."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.errors import ConfigError, DataError
from modicum.losses.long_tail import (
    LOSSES,
    LongTailLoss,
    adjusted_cross_entropy,
    class_weights,
    cosine_logits,
    ldam_margins,
)

COUNTS = torch.tensor([80, 16, 4])
LOGITS = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log()
EVERY = torch.arange(3)


def each(logits: Tensor = LOGITS, counts: Tensor = COUNTS, **options: object) -> list[float]:
    """The loss of the same logits for every label."""
    rows = logits.expand(len(counts), -1)
    losses = adjusted_cross_entropy(rows, torch.arange(len(counts)), counts, reduction="none", **options)  # type: ignore[arg-type]
    return losses.tolist()


def approx(values: list[float]) -> object:
    return pytest.approx(values, abs=1e-9)


def test_lace_adds_the_log_prior_in_training() -> None:
    """Odds 2 : 1 : 1 times 80 : 16 : 4 are 160 : 16 : 4 of 180; subtracting the prior would give 1/40 : 1/16 : 1/4."""
    assert each(adjustment="lace") == approx([log(180 / 160), log(180 / 16), log(180 / 4)])
    zero = torch.zeros(1, 3, dtype=torch.float64)
    assert each(zero, adjustment="lace") == approx([log(100 / 80), log(100 / 16), log(100 / 4)])


def test_tau_is_a_power_of_the_prior_not_of_the_odds() -> None:
    """Odds 2 : 1 : 1 times 6400 : 256 : 16 are 12800 : 256 : 16 of 13072; a temperature of the logits would square the 2."""
    assert each(adjustment="lace", tau=2.0) == approx([log(13072 / x) for x in (12800, 256, 16)])
    assert each(adjustment="lace", tau=0.0) == approx([log(2), log(4), log(4)])


def test_balanced_softmax_is_lace_without_smoothing_at_any_tau() -> None:
    """log N_c and log(N_c / N) differ by a constant of all classes, which a softmax does not see."""
    for tau in (0.5, 1.0, 2.0):
        assert each(adjustment="balanced-softmax", tau=tau) == approx(each(adjustment="lace", tau=tau))
    logits, y = torch.randn(7, 3), torch.randint(3, (7,))
    plain = replace(LOSSES["lace"], label_smoothing=0.0)
    assert torch.allclose(LOSSES["balanced-softmax"](logits, y, COUNTS), plain(logits, y, COUNTS))
    assert not torch.allclose(LOSSES["balanced-softmax"](logits, y, COUNTS), LOSSES["lace"](logits, y, COUNTS))


@pytest.mark.parametrize(
    ("adjustment", "margin", "sign"),
    [("ldam", None, -1), ("ldam-printed", None, 1), ("ldam", 0.5, -0.5), ("ldam-printed", 0.5, 0.5)],
)
def test_ldam_moves_the_true_class_alone_by_the_fourth_root(adjustment: str, margin: float | None, sign: float) -> None:
    """Counts 81, 16, 1: margins 1/3, 1/2, 1 (C = 1), half of that where the widest is 0.5.

    Equal logits: log(1 + 2 exp(margin)) against log 3 without; printed with the sign of eq. 4, log(1 + 2 exp(-margin)).
    A margin on all classes, as lace's, would give other denominators.
    """
    zero, counts = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([81, 16, 1])
    wanted = [log(1 + 2 * exp(-sign * m)) for m in (1 / 3, 1 / 2, 1)]
    assert each(zero, counts, adjustment=adjustment, margin=margin) == approx(wanted)
    assert (each(zero, counts, adjustment=adjustment, margin=margin)[2] > log(3)) == (adjustment == "ldam")


def test_margins_of_the_released_code() -> None:
    """max_m 0.5 belongs to the rarest class: 0.5 N_min^(1/4) N_c^(-1/4); scale 30 multiplies cosines and margins."""
    assert ldam_margins(torch.tensor([64, 4]).double()).tolist() == approx([0.25, 0.5])
    cosines = cosine_logits(torch.tensor([[3.0, 4.0]]).double(), torch.tensor([[0.0, 2.0], [-5.0, 0.0]]).double())
    assert cosines.tolist() == [approx([0.8, -0.6])]
    (_, loss) = each(cosines, torch.tensor([64, 4]), adjustment="ldam", scale=30.0)
    assert loss == pytest.approx(30 * (0.8 - (-0.6 - 0.5)))  # log(1 + exp(57)); margins outside the scale: 42.5


def test_weights_by_hand() -> None:
    """1 / N, 1 / sqrt N, 1 / log N in nats; at N = 1, where 1 / log N is infinite, the weight of N = 2."""
    counts = torch.tensor([100, 4, 2, 1]).double()
    assert class_weights(counts, "inverse").tolist() == approx([0.01, 0.25, 0.5, 1])
    assert class_weights(counts, "inverse-sqrt").tolist() == approx([0.1, 0.5, 1 / sqrt(2), 1])
    assert class_weights(counts, "inverse-log").tolist() == approx([1 / log(100), 1 / log(4), 1 / log(2), 1 / log(2)])


def test_weights_as_printed_over_pictures_and_over_the_batch() -> None:
    """Labels 0, 2 of counts 80, 16, 4: losses log 2, log 4.

    Printed: (log 2 / 80 + log 4 / 4) / 2. Over pictures 1 / N_y becomes 100 / (3 N_y). Over the batch: divided by
    1 / 80 + 1 / 4, as torch does.
    """
    y, rows = torch.tensor([0, 2]), LOGITS.expand(2, 3)
    printed = (log(2) / 80 + log(4) / 4) / 2
    loss = adjusted_cross_entropy(rows, y, COUNTS, weighting="inverse")
    assert float(loss) == pytest.approx(printed)
    assert float(LOSSES["balanced-ce"](rows, y, COUNTS)) == pytest.approx(printed * 100 / 3)
    batch = adjusted_cross_entropy(rows, y, COUNTS, weighting="inverse", normalize="batch")
    assert float(batch) == pytest.approx(2 * printed / (1 / 80 + 1 / 4))
    assert float(batch) == pytest.approx(float(F.cross_entropy(rows, y, weight=1 / COUNTS.double())))


def test_smoothed_labels_weigh_by_the_true_class() -> None:
    """e = 0.3 of three classes: 0.1 of each -log p, 0.7 more of the true one; alpha_y times all of it.

    torch's cross_entropy with weights and smoothing weighs the smoothed part by each class's own weight.
    """
    y = torch.tensor([2])
    loss = adjusted_cross_entropy(LOGITS, y, COUNTS, weighting="inverse", label_smoothing=0.3)
    assert float(loss) == pytest.approx((0.7 * log(4) + 0.1 * (log(2) + 2 * log(4))) / 4)
    theirs = F.cross_entropy(LOGITS, y, weight=1 / COUNTS.double(), label_smoothing=0.3, reduction="sum")
    assert float(theirs) != pytest.approx(float(loss), rel=0.01)


def test_smoothing_is_over_the_adjusted_softmax() -> None:
    """lace: 0.9 of log 45 and 0.1 of the mean of log 180/160, 180/16, 180/4: what RAC trains with."""
    wanted = 0.9 * log(45) + 0.1 * (log(180 / 160) + log(180 / 16) + log(45)) / 3
    assert float(LOSSES["lace"](LOGITS, torch.tensor([2]), COUNTS)) == pytest.approx(wanted)


def test_focal_by_hand() -> None:
    """p = 1/2, 1/4, 1/4 and gamma 2: (1/2)^2 log 2, (3/4)^2 log 4; p^2 instead of (1 - p)^2 would give 1/16 of log 4."""
    assert each(gamma=2.0) == approx([log(2) / 4, log(4) * 9 / 16, log(4) * 9 / 16])
    assert each(gamma=0.0) == approx(each())
    sure = torch.tensor([[200.0, 0.0]], requires_grad=True)
    adjusted_cross_entropy(sure, torch.tensor([0]), torch.tensor([1, 1]), gamma=0.5).backward()  # type: ignore[no-untyped-call]
    assert sure.grad is not None
    assert sure.grad.tolist() == [[0, 0]]


def test_the_batch_is_averaged_and_leading_dimensions_stay() -> None:
    logits, y = torch.randn(4, 5, 3), torch.randint(3, (4, 5))
    for name, loss in LOSSES.items():
        rows = torch.stack([loss(logits[i], y[i], COUNTS) for i in range(4)])
        assert torch.allclose(loss(logits, y, COUNTS), rows), name
        alone = torch.stack(
            [torch.stack([loss(logits[i, j : j + 1], y[i, j : j + 1], COUNTS) for j in range(5)]) for i in range(4)]
        )
        assert torch.allclose(rows, alone.mean(-1), atol=1e-6), name


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randint(3, (6,))
    assert torch.autograd.gradcheck(lambda f: LOSSES[name](f, y, COUNTS), (logits,))


def test_equal_counts_make_every_loss_but_focal_and_margins_plain() -> None:
    logits, y, counts = torch.randn(9, 3), torch.randint(3, (9,)), torch.tensor([7, 7, 7])
    plain = F.cross_entropy(logits, y)
    for weighting in ("inverse", "inverse-sqrt", "inverse-log"):
        loss = LongTailLoss("lace", weighting)  # type: ignore[arg-type]
        assert torch.allclose(loss(logits, y, counts), plain, atol=1e-6)
    assert not torch.allclose(LOSSES["focal"](logits, y, counts), plain)
    assert LOSSES["ldam"](logits, y, counts) > plain > LOSSES["ldam-printed"](logits, y, counts)


def test_half_precision_is_computed_in_single() -> None:
    logits = torch.randn(8, 3).bfloat16()
    y = torch.randint(3, (8,))
    assert LOSSES["lace"](logits, y, COUNTS).dtype == torch.float32
    assert torch.equal(LOSSES["lace"](logits, y, COUNTS), LOSSES["lace"](logits.float(), y, COUNTS))


def test_what_is_refused() -> None:
    y = torch.tensor([0])
    with pytest.raises(DataError, match=r"counts: expected at least 1 .* found 0 of class 1"):
        LOSSES["lace"](LOGITS, y, torch.tensor([5, 0, 1]))
    with pytest.raises(DataError, match=r"counts: expected one for each of the 3 classes"):
        LOSSES["ce"](LOGITS, y, torch.tensor([5, 1]))
    with pytest.raises(DataError, match=r"y: expected labels 0..2, .* found 3..3"):
        LOSSES["ce"](LOGITS, torch.tensor([3]), COUNTS)
    with pytest.raises(ConfigError, match="weighting: unknown 'inverse-square'"):
        LongTailLoss(weighting="inverse-square")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"adjustment: unknown 'lase'.*lace"):
        adjusted_cross_entropy(LOGITS, y, COUNTS, adjustment="lase")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"label_smoothing: focal loss"):
        replace(LOSSES["focal"], label_smoothing=0.1)
    with pytest.raises(ConfigError, match=r"tau: expected 0 or more, found -1"):
        LongTailLoss(tau=-1)
