"""Tables of numbers for regression: how files are read, which rows are held out, what is refused and how."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from modicum.data.columns import read_columns
from modicum.data.regression_tables import Held, RegressionTable, read_regression_table, target_names
from modicum.data.standardising import scaling_of
from modicum.errors import DataError

ROWS = [f"{i},{i * i},{i % 3}" for i in range(30)]


def written(folder: Path, lines: list[str], name: str = "table.csv") -> Path:
    path = folder / name
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def table(folder: Path, held: Held = Held(), target: str = "b") -> RegressionTable:  # noqa: B008
    return read_regression_table(written(folder, ["a,b,c", *ROWS]), target, held)


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_a_header_names_columns_and_without_one_they_are_numbered(tmp_path: Path, name: str) -> None:
    named = read_columns(written(tmp_path, ["a,b,c", *ROWS], name))
    assert named.names == ("a", "b", "c")
    plain = read_columns(written(tmp_path, ROWS, f"plain-{name}"))
    assert plain.names == ("0", "1", "2")
    assert plain.values.tolist() == named.values.tolist() == [[i, i * i, i % 3] for i in range(30)]


def test_a_first_row_of_column_numbers_is_a_header_and_a_row_of_two_is_not(tmp_path: Path) -> None:
    assert len(read_columns(written(tmp_path, ["0,1,2", *ROWS])).values) == 30
    assert len(read_columns(written(tmp_path, ["0,1", "1,0", "0,1"], "mask.csv")).values) == 3


@pytest.mark.parametrize(
    ("target", "expected"),
    [("b", ("b",)), ("last", ("c",)), ("0", ("a",)), ("a,c", ("a", "c")), ("last, 0", ("c", "a")), ("x,y", ("x,y",))],
)
def test_a_target_is_a_name_a_number_or_last_or_several(target: str, expected: tuple[str, ...]) -> None:
    assert target_names(target, ("a", "b", "x,y", "c")) == expected


def test_shares_hold_out_rows_by_the_seed(tmp_path: Path) -> None:
    first, again, other = table(tmp_path), table(tmp_path), table(tmp_path, Held(seed=1))
    assert [len(first.rows(part)) for part in ("train", "val", "test")] == [21, 3, 6]
    assert first.part.tolist() == again.part.tolist()
    assert first.part.tolist() != other.part.tolist()
    assert first.digest() == again.digest() != other.digest()
    assert first.inputs == ("a", "c")
    assert first.y[:, 0].tolist() == [i * i for i in range(30)]


def test_folds_say_which_rows_test_and_validation_is_taken_from_the_others(tmp_path: Path) -> None:
    masks = written(tmp_path, [f"{int(i % 2 == 0)},{int(i < 5)}" for i in range(30)], "folds.csv.gz")
    found = table(tmp_path, Held(str(masks), 1))
    assert found.rows("test").tolist() == [0, 1, 2, 3, 4]
    assert len(found.rows("val")) == 3
    assert "fold 1 of folds.csv.gz" in found.rule
    named = written(tmp_path, ["first,second", *(f"{int(i == 7)},0" for i in range(30))], "named.csv")
    assert table(tmp_path, Held(str(named), 0)).rows("test").tolist() == [7]
    with pytest.raises(DataError, match=r"fold: 2 asked for, but named\.csv has 2 folds, counted from 0"):
        table(tmp_path, Held(str(named), 2))
    short = written(tmp_path, ["0,1"] * 29, "short.csv")
    with pytest.raises(DataError, match=r"fold_file: short.csv has 29 rows, table.csv has 30"):
        table(tmp_path, Held(str(short), 0))


def test_a_split_column_decides_and_is_no_input(tmp_path: Path) -> None:
    splits = ["train"] * 20 + ["valid"] * 4 + ["test"] * 6
    lines = ["a,split,b", *(f"{i},{split},{i * i}" for i, split in enumerate(splits))]
    found = read_regression_table(written(tmp_path, lines), "b")
    assert found.inputs == ("a",)
    assert [len(found.rows(part)) for part in ("train", "val", "test")] == [20, 4, 6]
    lines[3] = "2,later,4"
    with pytest.raises(DataError, match="line 4: column 'split' holds 'later', expected train, val or test"):
        read_regression_table(written(tmp_path, lines), "b")


@pytest.mark.parametrize(
    ("line", "cells", "message"),
    [
        (5, "3,,0", "line 5: column 'b' has no number"),
        (5, "3,NaN,0", "line 5: column 'b' has no number"),
        (9, "7,inf,1", "line 9: column 'b' is not finite"),
        (4, "2,4,red", "line 4: column 'c' holds text, 'red', expected numbers; leave the column out, or encode it"),
        (4, "2,4,2024-01-31", "text, '2024-01-31', expected numbers; leave the column out, or write dates as numbers"),
        (6, "4,16", "line 6: 2 cells, expected 3"),
    ],
)
def test_the_first_bad_cell_is_named(tmp_path: Path, line: int, cells: str, message: str) -> None:
    lines = ["a,b,c", *ROWS]
    lines[line - 1] = cells
    lines[20] = "x,y,z"
    with pytest.raises(DataError, match=message):
        read_columns(written(tmp_path, lines))


def test_decimal_commas_folders_and_missing_files_of_folds_are_told_as_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds text, '7,576', expected numbers; write decimals with a point: 7\.576"):
        read_columns(written(tmp_path, ["a;b", "7,576;1,5"]))
    with pytest.raises(DataError, match="is a folder, expected a CSV file"):
        read_columns(tmp_path)
    with pytest.raises(DataError, match=r"^fold_file: the table .*none\.csv cannot be read"):
        table(tmp_path, Held(str(tmp_path / "none.csv"), 0))


@pytest.mark.parametrize(
    ("lines", "target", "message"),
    [
        (["a,b,c", *ROWS], "bb", "target: there is no column 'bb' .did you mean 'b'"),
        (["a,b,c", *ROWS], "b,b", "names the same column twice"),
        (["a,b,c", *ROWS[:19]], "b", "has 19 rows, expected at least 20"),
        (["a,b,b", *ROWS], "b", "several columns called 'b'"),
        (["a,,c", *ROWS], "a", "column 1 has no name"),
        (["a,b,c", *(f"{i},7,{i}" for i in range(30))], "b", "column 'b' of table.csv is 7 in all training rows"),
        (["b", *(str(i) for i in range(30))], "b", "no columns besides the target b"),
        ([], "b", "is empty"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, lines: list[str], target: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_regression_table(written(tmp_path, lines), target)


def test_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    masks = written(tmp_path, ["1"] * 30, "all.csv")
    with pytest.raises(DataError, match="no rows are left to train on"):
        table(tmp_path, Held(str(masks), 0))


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    assert read_columns(written(tmp_path, ["a,b,c", *ROWS])).values[0, 1] == 0
    assert read_columns(written(tmp_path, ["a,b,c", "0,55,0", *ROWS])).values[0, 1] == 55


def test_scaling_by_hand() -> None:
    """Columns 1, 3 (mean 2, deviation 1), a constant, and 10, 14 of which the variance over n is 4."""
    found = scaling_of(np.array([[1.0, 0.1, 10.0], [3.0, 0.1, 14.0]]))
    assert found.apply(np.array([[4.0, 5.0, 10.0]])).tolist() == [[2.0, 0.0, -1.0]]
    assert found.undo(np.array([[2.0, 0.0, -1.0]])).tolist() == [[4.0, 0.1, 10.0]]
