"""CSV tables: pictures with labels, splits and groups, or groups for the pictures of a folder.

Header required; columns `path`, `label` (or `class`), optionally `split` and `group`; paths are relative to the table.
Comma, semicolon or tab; UTF-8 with or without a mark at the start.
"""

from __future__ import annotations

import contextlib
import csv
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from modicum.data.images import Problem
from modicum.data.sources import SPLIT_FOLDERS, File, Listing, from_files, number
from modicum.errors import DataError
from modicum.registry import suggest

LABELS = ("label", "class")


class Table(NamedTuple):
    """A CSV file: column names and the rows that have all columns, each with its line number."""

    path: Path
    columns: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]
    problems: list[Problem]


class Row(NamedTuple):
    """A usable row: the file, its class, its split and group ("" where the table has none)."""

    file: File
    label: str
    split: str
    group: str


def read_table(path: Path) -> Table:
    """Read a CSV with a header; rows with a wrong number of cells become problems; `DataError` where there is no header."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            separator = max(",;\t", key=first.count)
            file.seek(0)
            lines = csv.reader(file, delimiter=separator)
            header = tuple(cell.strip() for cell in next(lines, []))
            rows, problems = [], []
            for cells in lines:
                if not any(cells):
                    continue
                if len(cells) == len(header):
                    rows.append((lines.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True))))
                else:
                    told = f"{len(cells)} cells, the header has {len(header)}"
                    problems.append(Problem(f"{path.name}:{lines.line_num}", "bad-row", told))
    except OSError as error:
        raise DataError(f"data: the table {path} cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"data: {path} is not a CSV in UTF-8 ({error}); save it as one") from error
    if not header:
        raise DataError(f"data: the table {path} is empty; expected a header line: path,label[,split][,group]")
    return Table(path, header, rows, problems)


def label_column(table: Table) -> str | None:
    """The column of labels, or None."""
    return next((name for name in LABELS if name in table.columns), None)


def _column(table: Table, group: str | None) -> str | None:
    """The column of groups; asked for by name it must be there, unasked it is `group` where the table has that."""
    if group is None:
        return "group" if "group" in table.columns else None
    if group not in table.columns:
        raise DataError(f"group: {table.path} has no column {group!r}{suggest(group, table.columns)}; "
                        f"it has: {', '.join(table.columns)}")  # fmt: skip
    return group


def _file(folder: Path, path: str, confined: bool) -> File | Problem:
    """The picture a row names, or why it cannot be used."""
    path = posixpath.normpath(path.replace("\\", "/"))
    if confined and (path.startswith(("/", "../")) or path[1:2] == ":" or path == ".."):
        return Problem(path, "outside", "leads out of the archive")
    try:
        status = os.stat(folder / path)
    except (OSError, ValueError):
        return Problem(path, "missing", "the table names it, but there is no such file")
    return File(path, status.st_size, status.st_mtime_ns)


def _rows(table: Table, label: str, group: str | None, confined: bool) -> tuple[list[Row], list[Problem]]:
    """The usable rows, one for each picture, and the problems of the others."""
    kept, problems = dict[str, Row](), list(table.problems)
    ambiguous = set[str]()
    for line, cells in table.rows:
        if not cells["path"] or not cells[label]:
            problems.append(Problem(f"{table.path.name}:{line}", "bad-row", f"no {'label' if cells['path'] else 'path'}"))
            continue
        file = _file(table.path.parent, cells["path"], confined)
        if isinstance(file, Problem):
            problems.append(file)
            continue
        split = cells.get("split", "")
        row = Row(file, cells[label], SPLIT_FOLDERS.get(split.lower(), split), cells[group] if group else "")
        before = kept.setdefault(file.path, row)
        if before.label != row.label:
            ambiguous.add(file.path)
            told = f"has two labels, {before.label!r} and {row.label!r} (line {line}); left out"
            problems.append(Problem(file.path, "two-labels", told))
        elif before is not row:
            problems.append(Problem(file.path, "repeated", f"named again in line {line}; counted once"))
    return [row for path, row in kept.items() if path not in ambiguous], problems


def _groups(listing: Listing, of: Mapping[str, str]) -> Listing:
    """The listing with the group of every path; a picture without one is a group of its own."""
    groups, names = number([of[path] or f"(alone) {path}" for path in listing.paths])
    return replace(listing, groups=groups, group_names=names)


def list_table(path: Path, group: str | None, *, confined: bool = False) -> Listing:
    """The pictures a table names; `confined` refuses paths that lead out of the table's folder."""
    table = read_table(path)
    label = label_column(table)
    if "path" not in table.columns or label is None:
        wanted = "path" if "path" not in table.columns else "label"
        raise DataError(f"data: the table {path} has no column {wanted!r}; expected path,label[,split][,group], "
                        f"found {', '.join(table.columns)}; for a table of numbers give --target COLUMN")  # fmt: skip
    column = _column(table, group)
    rows, problems = _rows(table, label, column, confined)
    rows.sort(key=lambda row: row.file.path)
    listing = from_files(path.stem, f"table\0{path.resolve()}", path.parent, [row.file for row in rows],
                         [row.label for row in rows])  # fmt: skip
    of = {row.file.path: row for row in rows}
    if column is not None:
        listing = _groups(listing, {path: row.group for path, row in of.items()})
    if any(row.split for row in rows):
        listing = _with_parts(listing, [of[p].split for p in listing.paths])
    return replace(listing, problems=tuple(problems))


def list_tables_inside(folder: Path, group: str | None) -> Listing | None:
    """The pictures of the table in a folder that has paths and labels and names most pictures of the folder; None where
    there is none. Other tables, readable or not, do not matter; groups may stand in one of them.
    """
    found = list[tuple[Table, Listing]]()
    for path in sorted(folder.glob("*.csv")):
        with contextlib.suppress(DataError):
            table = read_table(path)
            column = group if group in table.columns else None
            found.append((table, list_table(path, column, confined=True)))
    best = max(found, key=lambda pair: len(pair[1].paths), default=None)
    if best is None or not best[1].paths:
        return None
    table, listing = best
    return listing if group is None or group in table.columns else groups_beside(listing, group)


def _with_parts(listing: Listing, of: Sequence[str]) -> Listing:
    """The listing with the split of every picture, and class splits where no class is in two of them."""
    parts, names = number(of)
    owners: dict[int, set[str]] = {}
    for label, split in zip(listing.labels.tolist(), of, strict=True):
        owners.setdefault(label, set()).add(split)
    torn = sorted(listing.classes[label] for label, found in owners.items() if len(found) > 1)
    listing = replace(listing, parts=parts, part_names=names)
    if torn:
        told = f"{len(torn)} classes ({', '.join(torn[:3])}{', ...' if torn[3:] else ''}) have pictures in several splits"
        return replace(listing, split_rule=f"the table's split column splits pictures, not classes: {told}")
    splits = {
        split: tuple(listing.classes[label] for label in sorted(owners) if owners[label] == {split})
        for split in names
        if split
    }
    return replace(listing, splits=splits, split_rule="classes split by the table's split column")


def groups_beside(listing: Listing, group: str) -> Listing:
    """A folder's listing with groups from the CSV in that folder that has the columns `path` and `group`."""
    tables = [read_table(path) for path in sorted(listing.folder.glob("*.csv"))]
    fitting = [table for table in tables if group in table.columns and "path" in table.columns]
    if not fitting:
        seen = "; ".join(f"{table.path.name} has {', '.join(table.columns)}" for table in tables) or "there is no CSV"
        raise DataError(f"group: no CSV in {listing.folder} has the columns 'path' and {group!r} ({seen})")
    table = fitting[0]
    of = {posixpath.normpath(cells["path"].replace("\\", "/")): cells[group] for _, cells in table.rows}
    lost = [path for path in listing.paths if path not in of]
    if lost:
        raise DataError(f"group: {table.path.name} does not name {len(lost)} of {len(listing.paths)} pictures, among them "
                        f"{', '.join(lost[:3])}; add them, or leave out --group")  # fmt: skip
    left = tuple(problem for problem in listing.problems if problem.path != table.path.name)
    return _groups(replace(listing, problems=left), of)
