"""Columns of numbers in CSV files: tables for regression, and files of folds.

`.csv` or `.csv.gz`; comma, semicolon or tab; UTF-8. A first row with a cell that is no number is a header, and so is
0, 1, 2, ... up to the number of columns less one (three columns or more). Without a header columns are called 0, 1, 2, ...
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from modicum.errors import DataError

Floats = NDArray[np.float64]
SPLIT = "split"
"""A column of text that says which rows train, validate and test."""
MISSING = ("", "na", "n/a", "nan", "null", "none", "?")


class Columns(NamedTuple):
    """A file as it stands: names and values (n, C) of the columns of numbers, and the cells of `split`, None without it.

    first: line of the file that row 0 is from, counted from 1.
    """

    path: Path
    names: tuple[str, ...]
    values: Floats
    split: tuple[str, ...] | None
    first: int


def read_columns(path: Path | str, option: str = "data") -> Columns:
    """The columns of a file; `DataError` for one that cannot be read, and for a cell that is no finite number (named).

    option: the one that named the file, for the message where there is no such file.
    """
    path = Path(path)
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{option}: the table {path} cannot be read ({error.strerror})") from error
    if not path.is_file():
        raise DataError(f"{option}: {path} is a folder, expected a CSV file (.csv or .csv.gz)")
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, changed: int, size: int) -> Columns:
    """As `read_columns`; the arguments after the path tell a changed file from the one that is remembered."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"data: {path} cannot be read as a CSV in UTF-8 ({error}); save it as one") from error
    start = text.partition("\n")[0]
    separator = max(",;\t", key=start.count)
    cells = [cell.strip() for cell in next(csv.reader([start], delimiter=separator), [])]
    if not any(cells):
        raise DataError(f"data: the table {path} is empty, or its first line is; expected names of columns, or numbers")
    header = _is_header(cells)
    names = tuple(cells if header else map(str, range(len(cells))))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"data: {path.name} has several columns called {', '.join(map(repr, twice))}; names tell them apart")
    if "" in names:
        raise DataError(
            f"data: {path.name}: column {names.index('')} has no name in the header; give it one, or take it out"
        )
    first = 2 if header else 1
    if SPLIT not in names:
        try:
            values = np.loadtxt(io.StringIO(text), delimiter=separator, skiprows=first - 1, ndmin=2, comments=None)
        except ValueError:
            values = None
        if values is not None and values.shape[1] == len(names) and np.isfinite(values).all():
            return Columns(path, names, values, None, first)
    return _by_cell(path, text, separator, names, first)


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a first row names columns; one empty or missing cell among numbers does not make it a header."""
    texts = [cell for cell in cells if not _is_number(cell) and cell.lower() not in MISSING]
    counted = len(cells) >= 3 and list(cells) == [str(place) for place in range(len(cells))]
    return bool(texts) or counted


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _by_cell(path: Path, text: str, separator: str, names: tuple[str, ...], first: int) -> Columns:
    """The slow way, which knows the first cell that is wrong, and reads the column `split` as text."""
    numeric = [place for place, name in enumerate(names) if name != SPLIT]
    rows, splits = [], []
    lines = csv.reader(io.StringIO(text), delimiter=separator)
    for count, cells in enumerate(lines, 1):
        if count < first or not any(cells):
            continue
        if len(cells) != len(names):
            told = f"{len(cells)} cells, expected {len(names)}"
            raise DataError(f"data: {path.name}, line {lines.line_num}: {told}; every row needs all its cells")
        try:
            row = [float(cells[place]) for place in numeric]
        except ValueError:
            _refuse(path, lines.line_num, names, [cell.strip() for cell in cells])
        if not np.isfinite(row).all():
            _refuse(path, lines.line_num, names, [cell.strip() for cell in cells])
        rows.append(row)
        if len(numeric) < len(names):
            splits.append(cells[names.index(SPLIT)].strip())
    if not rows:
        raise DataError(f"data: {path.name} has a header and no rows")
    kept = tuple(names[place] for place in numeric)
    return Columns(path, kept, np.array(rows), tuple(splits) if len(kept) < len(names) else None, first)


def _hint(cell: str) -> str:
    """What to do about a cell of text."""
    if cell.count(",") == 1 and _is_number(cell.replace(",", ".")):
        return f"write decimals with a point: {cell.replace(',', '.')}"
    if re.fullmatch(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?", cell):
        return "leave the column out, or write dates as numbers, such as days since the first of them"
    return "leave the column out, or encode it: a column of 0 and 1 for each of its values"


def _refuse(path: Path, line: int, names: tuple[str, ...], cells: list[str]) -> NoReturn:
    """Raise the `DataError` of the first cell of a row that is no finite number."""
    for name, cell in zip(names, cells, strict=True):
        where = f"data: {path.name}, line {line}: column {name!r}"
        if name == SPLIT:
            continue
        if cell.lower() in MISSING:
            raise DataError(f"{where} has no number ({cell!r}); fill it in, or leave the row or the column out")
        if not _is_number(cell):
            raise DataError(f"{where} holds text, {cell!r}, expected numbers; {_hint(cell)}")
        if not np.isfinite(float(cell)):
            raise DataError(f"{where} is not finite ({cell}); leave the row or the column out")
    raise AssertionError(f"{path}, line {line}: nothing wrong was found in {cells}")
