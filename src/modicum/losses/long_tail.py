"""Losses for long tails: one re-weighted, adjusted cross-entropy, of which most published ones are special cases.

Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233, eqs. 2-4,
6, 7, after Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, arXiv 2007.07314 (LACE); Cao et al.,
"Learning imbalanced datasets with label-distribution-aware margin loss", NeurIPS 2019, arXiv 1906.07413 (LDAM); Ren et
al., "Balanced meta-softmax for long-tailed visual recognition", NeurIPS 2020, arXiv 2007.10740; Lin et al., "Focal loss
for dense object detection", ICCV 2017, arXiv 1708.02002.

    loss = -alpha_y log softmax_y(s (f + tau Delta))                                            (eq. 3)

| adjustment | Delta |
|---|---|
| none | 0 |
| lace | log(N_c / N) on every class c |
| balanced-softmax | log N_c on every class c: the same loss as lace, for a softmax does not see a constant |
| ldam | -C N_y^(-1/4) on the true class only (Cao et al.): a margin, widest for the rarest class |
| ldam-printed | +C N_y^(-1/4) on the true class only: eq. 4 of Long et al. as printed, which takes the margin away |

| weighting | alpha_y |
|---|---|
| none | 1 |
| inverse | 1 / N_y (eq. 2) |
| inverse-sqrt | 1 / sqrt(N_y) (eq. 7) |
| inverse-log | 1 / log max(N_y, 2) (eq. 6, which is infinite at N_y = 1: one picture weighs as much as two) |

| symbol | variable | shape |
|---|---|---|
| f | logits | (..., B, C) |
| y | y | (..., B) |
| N_c, N | counts, their sum | (C,), training pictures of each class |
| C of LDAM | margin / N_min^(-1/4) where margin is the widest one (Cao's code: 0.5); 1 where margin is None (eq. 4) | |
| s | scale | 1; Cao's code: 30, on cosines (`cosine_logits`) |

Focal: -alpha_y (1 - p_y)^gamma log p_y. Label smoothing e spreads e / C over all classes, the true one included; alpha_y
weighs the whole of it. The batch's mean is the plain mean of weighted losses. `normalize`: as they stand ("none", as
printed); "pictures": alpha is divided by its mean over all training pictures, a constant, so that rates and clipping mean
the same for all weightings ("inverse" becomes N / (C N_y)); "batch": by the sum over the batch, as torch's weighted mean.

Deviations: LDAM's code normalises features and weights and scales by 30; the named loss takes any logits, and
`cosine_logits` with scale 30 is theirs. Its alpha is 1 / N_y as Long et al. say; Cao et al. defer other weights to the
end of training. Focal loss is published for sigmoids; this is the softmax form that long-tail papers compare with. Under
weights torch's own smoothing weighs the smoothed part by every class's weight. Named losses normalise over "pictures".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.configs.options import require, require_known
from modicum.errors import DataError

Adjustment = Literal["none", "lace", "balanced-softmax", "ldam", "ldam-printed"]
Weighting = Literal["none", "inverse", "inverse-sqrt", "inverse-log"]
Normalize = Literal["none", "pictures", "batch"]

WEIGHTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": torch.ones_like,
    "inverse": torch.reciprocal,
    "inverse-sqrt": torch.rsqrt,
    "inverse-log": lambda n: n.clamp(min=2).log().reciprocal(),
}
"""Weighting -> alpha (C,) of counts (C,)."""
PRIORS: Mapping[str, Callable[[Tensor], Tensor]] = {"lace": lambda n: (n / n.sum()).log(), "balanced-softmax": torch.log}
"""Adjustments of every class -> Delta (C,) of counts (C,)."""
MARGIN_SIGNS: Mapping[str, int] = {"ldam": -1, "ldam-printed": 1}
"""Adjustments of the true class -> the sign of C N_y^(-1/4)."""


def _require_hard(gamma: float, smoothing: float) -> None:
    """`ConfigError` for focal loss with smoothed labels."""
    require(
        not (gamma and smoothing), f"label_smoothing: focal loss (gamma {gamma}) has none; expected 0, found {smoothing}"
    )


def _checked(counts: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    """Counts as floats beside logits; `DataError` where they or y do not fit them, or a class has no training picture."""
    if counts.shape != logits.shape[-1:]:
        raise DataError(f"counts: expected one for each of the {logits.shape[-1]} classes of the logits, found a shape of "
                        f"{tuple(counts.shape)}")  # fmt: skip
    if int(counts.min()) < 1:
        raise DataError(
            f"counts: expected at least 1 training picture of every class, found {int(counts.min())} of class "
            f"{int(counts.argmin())}; leave the class out of the classifier"
        )
    if y.numel() and not (int(y.min()) >= 0 and int(y.max()) < len(counts)):
        raise DataError(f"y: expected labels 0..{len(counts) - 1}, one for each logit, found {int(y.min())}..{int(y.max())}")
    return counts.to(logits.device, logits.dtype)


def class_weights(counts: Tensor, weighting: Weighting, normalize: Normalize = "none") -> Tensor:
    """alpha (C,) of counts (C,) >= 1, floats; normalised over training pictures where asked ("batch" is as "none")."""
    require_known("weighting", weighting, WEIGHTS)
    require_known("normalize", normalize, ("none", "pictures", "batch"))
    counts = counts if counts.is_floating_point() else counts.float()
    weights = WEIGHTS[weighting](counts)
    return weights * counts.sum() / (weights * counts).sum() if normalize == "pictures" else weights


def ldam_margins(counts: Tensor, widest: float | None = 0.5) -> Tensor:
    """C N_c^(-1/4) (C,) of counts (C,) >= 1, with C such that the rarest class has the margin `widest`; None: C = 1."""
    margins = (counts if counts.is_floating_point() else counts.float()) ** -0.25
    return margins if widest is None else margins * (widest / margins.max())


def cosine_logits(features: Tensor, weight: Tensor) -> Tensor:
    """Cosines (..., B, C) of features (..., B, D) and class vectors (C, D): what LDAM's code takes with scale 30."""
    return F.normalize(features, dim=-1) @ F.normalize(weight, dim=-1).mT


def adjusted_logits(
    logits: Tensor, y: Tensor, counts: Tensor, adjustment: Adjustment, tau: float = 1.0, margin: float | None = 0.5
) -> Tensor:
    """f + tau Delta, (..., B, C), of logits (..., B, C), labels (..., B) and float counts (C,) >= 1."""
    require_known("adjustment", adjustment, ("none", *PRIORS, *MARGIN_SIGNS))
    if adjustment in PRIORS:
        return logits + tau * PRIORS[adjustment](counts)
    if adjustment in MARGIN_SIGNS:
        delta = MARGIN_SIGNS[adjustment] * tau * ldam_margins(counts, margin)
        return logits.scatter_add(-1, y[..., None], delta[y][..., None])
    return logits


def adjusted_cross_entropy(
    logits: Tensor,
    y: Tensor,
    counts: Tensor,
    *,
    adjustment: Adjustment = "none",
    tau: float = 1.0,
    weighting: Weighting = "none",
    label_smoothing: float = 0.0,
    margin: float | None = 0.5,
    gamma: float = 0.0,
    scale: float = 1.0,
    normalize: Normalize = "none",
    reduction: Literal["mean", "none"] = "mean",
) -> Tensor:
    """Eq. 3, in nats, of logits (..., B, C) with labels y (..., B) int64 and counts (C,) of training pictures.

    Mean over B, (...), or with reduction "none" every picture's loss (..., B). Half precision is computed in float32.
    gamma: focal. margin: the widest of LDAM, None for C = 1. `DataError` where counts do not fit or have a 0;
    `ConfigError` for an unknown name, and for focal loss with smoothed labels, which nobody defines.
    """
    _require_hard(gamma, label_smoothing)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    n = _checked(counts, logits, y)
    log_p = (scale * adjusted_logits(logits, y, n, adjustment, tau, margin)).log_softmax(-1)
    true = log_p.gather(-1, y[..., None])[..., 0]  # (..., B)
    loss = -(1 - label_smoothing) * true - label_smoothing * log_p.mean(-1)
    if gamma:
        missing = (-true.expm1()).clamp(min=torch.finfo(true.dtype).tiny)  # 1 - p; no 0, whose root has no slope
        loss = missing**gamma * loss
    weights = class_weights(n, weighting, normalize)[y]
    losses = weights * loss
    if normalize == "batch":
        losses = losses / weights.mean(-1, keepdim=True)
    return losses.mean(-1) if reduction == "mean" else losses


@final
@dataclass(frozen=True)
class LongTailLoss:
    """A loss of logits, labels and training counts: the options of `adjusted_cross_entropy`, checked when it is made."""

    adjustment: Adjustment = "none"
    weighting: Weighting = "none"
    tau: float = 1.0
    label_smoothing: float = 0.0
    margin: float | None = 0.5
    gamma: float = 0.0
    scale: float = 1.0
    normalize: Normalize = "pictures"

    def __post_init__(self) -> None:
        require_known("adjustment", self.adjustment, ("none", *PRIORS, *MARGIN_SIGNS))
        require_known("weighting", self.weighting, WEIGHTS)
        require_known("normalize", self.normalize, ("none", "pictures", "batch"))
        smoothed = self.label_smoothing
        require(0 <= smoothed < 1, f"label_smoothing: expected 0 or more and less than 1, found {smoothed}")
        for name in ("tau", "gamma"):
            require(getattr(self, name) >= 0, f"{name}: expected 0 or more, found {getattr(self, name)}")
        require(self.scale > 0, f"scale: expected more than 0, found {self.scale}")
        require(self.margin is None or self.margin >= 0, f"margin: expected 0 or more, found {self.margin}")
        _require_hard(self.gamma, smoothed)

    def __call__(self, logits: Tensor, y: Tensor, counts: Tensor) -> Tensor:
        """Mean loss (...) of logits (..., B, C) with labels (..., B) under training counts (C,)."""
        return adjusted_cross_entropy(
            logits, y, counts, adjustment=self.adjustment, tau=self.tau, weighting=self.weighting, margin=self.margin,
            label_smoothing=self.label_smoothing, gamma=self.gamma, scale=self.scale, normalize=self.normalize,
        )  # fmt: skip


LOSSES: Mapping[str, LongTailLoss] = {
    "ce": LongTailLoss(),
    "balanced-ce": LongTailLoss(weighting="inverse"),
    "balanced-softmax": LongTailLoss("balanced-softmax"),
    "lace": LongTailLoss("lace", label_smoothing=0.1),
    "ldam": LongTailLoss("ldam", "inverse"),
    "ldam-printed": LongTailLoss("ldam-printed", "inverse"),
    "focal": LongTailLoss(gamma=2.0),
}
"""Name -> loss as published; `dataclasses.replace` changes an option."""
