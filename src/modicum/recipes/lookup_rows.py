"""Rows of look-ups by a frozen encoder alone (tables 4 and S2 of RAC), and the options that say data and encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from modicum.recipes.long_tail_models import BASES, METHODS, with_referred
from modicum.recipes.models import Options
from modicum.recipes.rac_tables import missing_at
from modicum.recipes.recipe import Models, Row

Found = Sequence[float | None]
BUCKETS = ("many", "medium", "few", "all")
MORE = ("top-5", "train", "train, others")
NOT_STATED = "which weights the paper took is not stated"


def looked_up(data: str, encoder: str | None) -> tuple[str, Options]:
    """(name, options) of a look-up on a data set; None: the data set's own E. Nothing is trained by these options."""
    own: dict[str, Any] = {} if encoder is None else {"encoder": encoder}
    told = "own" if encoder is None else encoder.rpartition("/")[2].removeprefix("run:").partition("@")[0]
    options = {scale: replace(base, **METHODS["retrieval"], text="random", **own) for scale, base in BASES[data].items()}
    if encoder is not None and encoder.startswith("run:"):
        options = {scale: found for scale, found in options.items() if scale != "full"}
    return f"{data}-lookup-{told}", options


def lookup_models(pairs: Sequence[tuple[str, str | None]]) -> dict[str, Options]:
    """The models of look-ups by (data, encoder), and those that they refer to."""
    return with_referred(dict(looked_up(data, encoder) for data, encoder in pairs))


def lookup_rows(
    prefix: str,
    data: str,
    encoder: str | None,
    numbers: Found,
    parts: Sequence[str],
    index: Literal["exact", "hnsw"] = "exact",
    metric: Literal["cosine", "l2"] = "l2",
) -> list[Row]:
    """Rows of one look-up: accuracies `parts`, then milliseconds a query or seconds of construction where these are named.

    numbers: published, one for each part; accuracies in per cent.
    """
    name, options = looked_up(data, encoder)
    used = Models(name if "full" in options else None, name if "cpu" in options else None)
    found = []
    for part, number in zip(parts, numbers, strict=True):
        timed = part in ("query_ms", "construction_seconds")
        shown = {"query_ms": "a query", "construction_seconds": "construction"}.get(part, part)
        found.append(
            Row(
                f"{prefix}, {shown}", used, kind=part if timed else "lookup", bucket="" if timed else part,  # type: ignore[arg-type]
                index=index, metric=metric, missing=missing_at(data),
                paper=number if timed or number is None else round(number / 100, 6),
            )
        )  # fmt: skip
    return found
