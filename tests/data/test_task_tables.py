"""Tables of regression tasks as users bring them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modicum.data.task_tables import read_tasks
from modicum.errors import DataError

GOOD = "task,temperature,humidity,yield\nA,1,0.5,10\nB,2,0.25,20\nA,3,0.125,30\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "tasks.csv"
    path.write_text(text)
    return path


def test_inputs_are_all_other_columns_and_rows_keep_their_task(tmp_path: Path) -> None:
    table = read_tasks(written(tmp_path, GOOD), "yield")
    assert table.inputs == ("temperature", "humidity")
    assert table.names == ("A", "B")
    assert table.task.tolist() == [0, 1, 0]
    assert table.x.tolist() == [[1, 0.5], [2, 0.25], [3, 0.125]]
    assert table.y.tolist() == [[10], [20], [30]]


def test_npz_holds_the_same_table_with_several_numbers_a_column(tmp_path: Path) -> None:
    path = tmp_path / "tasks.npz"
    np.savez(path, task=np.array([7, 8, 7]), place=np.arange(6.0).reshape(3, 2), force=np.arange(9.0).reshape(3, 3))
    table = read_tasks(path, "force")
    assert table.names == ("7", "8")
    assert table.x.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert table.y.shape == (3, 3)


def test_a_split_column_decides_and_parts_are_numbered_from_zero(tmp_path: Path) -> None:
    rows = "".join(f"t{t},{split},{t},{2 * t}\n" for t, split in enumerate(["train", "test", "train", "valid"]))
    table = read_tasks(written(tmp_path, "task,split,x,y\n" + rows), "y")
    assert dict(table.splits) == {"train": ("t0", "t2"), "val": ("t3",), "test": ("t1",)}
    task, x, y, names = table.part("train")
    assert (task.tolist(), x.ravel().tolist(), y.ravel().tolist(), names) == ([0, 1], [0, 2], [0, 4], ("t0", "t2"))


def test_without_a_split_column_the_seed_splits_tasks(tmp_path: Path) -> None:
    path = written(tmp_path, "task,x,y\n" + "".join(f"t{t},{t},{t}\n" for t in range(25)))
    first, again, other = (read_tasks(path, "y", seed) for seed in (0, 0, 1))
    assert {split: len(names) for split, names in first.splits.items()} == {"train": 16, "val": 4, "test": 5}
    assert first.splits == again.splits != other.splits
    assert first.digest() == again.digest() != other.digest()
    assert "25 tasks split 64/16/20" in first.split_rule


@pytest.mark.parametrize(
    ("text", "target", "says"),
    [
        (GOOD, "yeild", r"target: tasks.csv has no column 'yeild' \(did you mean 'yield'\?\); it has: task, temperature"),
        (GOOD.replace("task,", "name,"), "yield", "data: tasks.csv has no column 'task'"),
        (GOOD.replace("0.25", "wet"), "yield", "column 'humidity' holds 'wet' in row 2, expected numbers"),
        (GOOD.replace("0.25", "nan"), "yield", "column 'humidity' is not finite in row 2"),
        (GOOD.replace(",30", ""), "yield", "3 cells, the header has 4"),
        ("task,yield\nA,1\n", "yield", "no input columns besides 'task' and the target 'yield'"),
        ("task,x,y\n", "y", "a header and no rows"),
        ("task,split,x,y\nA,train,1,1\nA,test,1,1\n", "y", "puts task 'A' into 'train' and into 'test'"),
        ("task,split,x,y\nA,dev,1,1\n", "y", "column 'split' holds 'dev', expected train, val or test"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, text: str, target: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_tasks(written(tmp_path, text), target)


def test_an_npz_that_is_none_and_arrays_of_unequal_length(tmp_path: Path) -> None:
    path = tmp_path / "tasks.npz"
    path.write_text("no archive")
    with pytest.raises(DataError, match="cannot be read as an NPZ"):
        read_tasks(path, "y")
    np.savez(path, task=np.arange(3), x=np.arange(4), y=np.arange(3))
    with pytest.raises(DataError, match="equally many rows, found task 3, x 4, y 3"):
        read_tasks(path, "y")
