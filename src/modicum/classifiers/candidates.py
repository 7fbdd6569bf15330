"""What a search tries: heads with their settings, simplest first, and fewer of them where there is much to compute.

Order is the tie-break: among equal scores the candidate that stands first wins, so no result goes to a richer head, to a
smaller penalty or to a larger C than it needs. `auto` tries nearest means, ridge, logistic regression and both SVMs; r2d2
and metaoptnet-rr are ridge over again here, where the penalty is chosen and not learned or 50. The three heads that
minimise a loss cost most, so in `auto` they come with one preparation, with classes weighted alike and with two values of
C each, and stay away, the dearest first, where they would take more than `MARGIN_BUDGET`. Everything is a function of
the counts of pictures, features, classes and folds alone; so is the note that says what was left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from modicum.classifiers.margins import MARGINS
from modicum.classifiers.rules import RIDGES, Phi, Settings

PHIS: tuple[Phi, ...] = ("l2", "none", "centre-l2")
PENALTIES = (10.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.001)
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
SCALES = {
    "protonet": 1.0,
    "cosine": 10.0,
    "ridge": 10.0,
    "r2d2": 10.0,
    "metaoptnet-rr": 10.0,
    "linear": 1.0,
    "svm": 5.0,
    "metaoptnet-svm": 5.0,
    "mct": 1.0,
}
AUTO = ("protonet", "cosine", "ridge", *MARGINS)
AUTO_STRENGTHS = {"linear": (1.0, 10.0), "svm": (0.1, 1.0), "metaoptnet-svm": (0.1, 1.0)}
BUDGET = 5e12
"""Floating-point operations the search may take before it is narrowed; about 80 seconds of one CPU core."""
MARGIN_BUDGET = 1.2e12
"""As BUDGET, for what heads that minimise a loss may take of a search for the best head; about 20 seconds."""
_PASSES = {"linear": 30, "svm": 60, "metaoptnet-svm": 100}  # over the rows in a search, about
_THIN = 3  # a product with N columns runs at a fraction of the speed of a square one


@dataclass(frozen=True)
class Search:
    """Candidates, simplest first, and how many inner folds score them; `note` says how it was narrowed."""

    candidates: tuple[Settings, ...]
    inner_folds: int
    note: str = ""

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that are tried, simplest first."""
        return tuple(dict.fromkeys(s.head for s in self.candidates))


def grid(head: str, phis: Sequence[Phi] = PHIS, balances: Sequence[bool] = (False, True)) -> tuple[Settings, ...]:
    """Candidates of a head, simplest first."""
    scale = SCALES[head]
    if head == "mct":
        return (Settings(head, "none", scale=scale),)
    if head in RIDGES:
        weighted = balances if head == "ridge" else (False,)
        return tuple(
            Settings(head, phi, penalty=penalty, balanced=balanced, scale=scale)
            for balanced, penalty, phi in product(weighted, PENALTIES, phis)
        )
    if head in MARGINS:
        return tuple(
            Settings(head, phi, balanced=balanced, scale=scale, c=c)
            for balanced, c, phi in product(balances, STRENGTHS, phis)
        )
    return tuple(Settings(head, phi, scale=scale) for phi in phis)


def automatic(
    heads: Sequence[str] = AUTO, phis: Sequence[Phi] = PHIS, balances: Sequence[bool] = (False, True)
) -> tuple[Settings, ...]:
    """Candidates of "auto", simplest first, of the given heads."""
    found: tuple[Settings, ...] = ()
    for head in heads:
        if head in MARGINS:
            found += tuple(replace(s, phi="centre-l2", balanced=True) for s in _strengths(head))
        else:
            found += grid(head, phis, balances)
    return found


def _strengths(head: str) -> tuple[Settings, ...]:
    return tuple(Settings(head, scale=SCALES[head], c=c) for c in AUTO_STRENGTHS[head])


def cost(n: int, dims: int, n_classes: int, folds: int, search: Search) -> float:
    """About how many floating-point operations the nested search takes for n pictures of so many features."""
    rank = min(n, dims)
    fits = (folds + 1) * search.inner_folds
    decomposition = 2.0 * n * dims * rank + 10.0 * rank**3
    ridges = [s for s in search.candidates if s.head in RIDGES]
    penalties = len({s.penalty for s in ridges})
    use = 2.0 * n * rank * (dims if n < dims else rank) + 2.0 * n * rank * n_classes * penalties
    total = len({(s.phi, s.balanced) for s in ridges}) * (decomposition + use)
    margins = [s for s in search.candidates if s.head in MARGINS]
    total += len({(s.phi, s.balanced) for s in margins}) * decomposition
    total += sum(_THIN * _PASSES[s.head] * 4.0 * n * rank * n_classes for s in margins)
    return fits * total


def _affordable(n: int, dims: int, n_classes: int, folds: int) -> tuple[str, ...]:
    """AUTO without the dearest of the heads that minimise a loss, as many as MARGIN_BUDGET demands."""
    for count in range(len(MARGINS), 0, -1):
        search = Search(automatic(MARGINS[:count]), folds)
        if cost(n, dims, n_classes, folds, search) <= MARGIN_BUDGET:
            return tuple(head for head in AUTO if head not in MARGINS[count:])
    return tuple(head for head in AUTO if head not in MARGINS)


def narrowed(n: int, dims: int, n_classes: int, folds: int, head: str) -> Search:
    """The whole grid with `folds` inner folds, or the first narrower search within BUDGET, or the narrowest."""
    inner = min(folds, 3)
    heads = _affordable(n, dims, n_classes, folds) if head == "auto" else (head,)

    def tried(phis: Sequence[Phi] = PHIS, balances: Sequence[bool] = (False, True)) -> tuple[Settings, ...]:
        return automatic(heads, phis, balances) if head == "auto" else grid(head, phis, balances)

    steps: tuple[Search, ...] = (
        Search(tried(), folds),
        Search(tried(), inner, f"{inner} inner folds"),
        Search(tried(("l2", "centre-l2"), (True,)), inner, f"{inner} inner folds, 2 of 3 preparations, classes alike"),
        Search(tried(("l2",), (True,)), 2, "2 inner folds, features scaled to length 1, classes alike"),
    )
    if head == "auto":
        steps += (Search(grid("protonet") + grid("cosine"), inner, f"{inner} inner folds, no ridge"),)
    found = next((step for step in steps if cost(n, dims, n_classes, folds, step) <= BUDGET), steps[-1])
    missing = [name for name in AUTO if name not in found.heads and name != "ridge"] if head == "auto" else []
    notes = [part for part in (found.note, f"without {', '.join(missing)}" if missing else "") if part]
    return replace(found, note=", ".join(notes))


def search_of(trained: Settings | None, folds: int) -> Search | None:
    """No search: the settings of a trained head alone."""
    return None if trained is None else Search((trained,), folds)
