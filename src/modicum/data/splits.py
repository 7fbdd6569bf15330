"""Which classes belong to which split: from a file, shipped with the package, or by a seeded rule."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from modicum.errors import DataError
from modicum.registry import suggest
from modicum.runtime import philox

Splits = Mapping[str, tuple[str, ...]]
SHARES = {"train": 0.64, "val": 0.16, "test": 0.20}


def shipped(name: str) -> dict[str, Any]:
    """A class split that ships with the package ("omniglot-vinyals", "cifar-fs", "fc100", "mini-imagenet")."""
    text = resources.files("modicum.data").joinpath("splits_files", f"{name}.json").read_text(encoding="utf-8")
    record: dict[str, Any] = json.loads(text)
    return {split: record[split] for split in ("train", "val", "test")}


def coarse_classes() -> dict[str, str]:
    """The coarse class, of 20, of each of CIFAR-100's classes, as the data set itself groups them."""
    text = resources.files("modicum.data").joinpath("splits_files", "cifar100-coarse.json").read_text(encoding="utf-8")
    return {fine: coarse for coarse, members in json.loads(text).items() for fine in members}


def by_rule(classes: Sequence[str], seed: int, what: str = "classes") -> tuple[Splits, str]:
    """Classes in 64/16/20 per cent (largest remainders), drawn by a seed, and the rule in words. what: what they are."""
    order = philox(seed, "data/splits", 0).permutation(len(classes))
    quotas = {split: share * len(classes) for split, share in SHARES.items()}
    counts = {split: int(quota) for split, quota in quotas.items()}
    remainders = sorted(quotas, key=lambda split: counts[split] - quotas[split])
    for split in remainders[: len(classes) - sum(counts.values())]:
        counts[split] += 1
    splits, start = {}, 0
    for split, count in counts.items():
        splits[split] = tuple(sorted(classes[i] for i in order[start : start + count]))
        start += count
    told = ", ".join(f"{count} {split}" for split, count in counts.items())
    rule = f"no splits file: {len(classes)} {what} split 64/16/20 per cent by seed {seed} into {told}"
    return splits, f"{rule} (sorted names, permuted by Philox, largest remainders)"


def check_splits(splits: Mapping[str, Sequence[str]], classes: Sequence[str], origin: str) -> Splits:
    """The splits if their classes exist and no class is in two of them, else `DataError`."""
    known, owner = set(classes), dict[str, str]()
    for split, names in splits.items():
        for name in names:
            if name not in known:
                raise DataError(f"splits: {origin} puts the class {name!r} into {split!r}, but the data has no such class"
                                f"{suggest(name, classes)}")  # fmt: skip
            if owner.setdefault(name, split) != split:
                raise DataError(f"splits: {origin} puts the class {name!r} into {owner[name]!r} and into {split!r}; "
                                "splits must not share classes")  # fmt: skip
    return {split: tuple(sorted(set(names))) for split, names in splits.items()}


def from_file(path: Path, classes: Sequence[str]) -> tuple[Splits, str]:
    """Splits of a JSON file {"train": [class, ...], "val": [...], "test": [...]}, and where they came from in words."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"splits: the file {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"splits: {path} is not valid JSON ({error})") from error
    if not isinstance(record, dict):
        raise DataError(f'splits: {path}: expected {{"train": [class, ...], "val": [...], "test": [...]}}')
    record = {split: names for split, names in record.items() if split not in ("schema", "source")}
    for split, names in record.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"splits: {path}: expected a list of class names under {split!r}")
    if not record:
        raise DataError(f"splits: {path} names no split")
    splits = check_splits(record, classes, str(path))
    left = len(classes) - sum(map(len, splits.values()))
    told = ", ".join(f"{len(names)} {split}" for split, names in splits.items())
    return splits, f"classes split by {path}: {told}" + (f"; {left} classes in no split" if left else "")
