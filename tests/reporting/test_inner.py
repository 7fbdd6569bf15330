"""Archives beside result files -> what inner loops did; what does not fit is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.errors import FileFormatError
from modicum.reporting.inner import read_inner

RECORD: dict[str, Any] = {
    "data": "digits", "split": "test", "rows": [{"shots": 1, "batch_norm": "support"}, {"shots": 5, "batch_norm": "batch"}],
}  # fmt: skip
ARRAYS: dict[str, Any] = {
    "inner_layers": np.array(["a", "b"]), "inner_losses": np.ones((4, 3)), "inner_alpha": np.ones((4, 3, 2)),
    "inner_distance": np.arange(4.0),
}  # fmt: skip


def read(path: Path, **more: Any) -> Any:
    np.savez(path, **{**ARRAYS, **more})
    return read_inner(RECORD, path, [])


def test_an_evaluation_is_read_with_what_it_was_on(tmp_path: Path) -> None:
    found = read(tmp_path / "x.npz")
    assert (found.place, found.shots, found.layers) == ("digits test", 5, ("a", "b"))
    assert dict(found.setup)["batch norm"] == "one by one"  # arrays are of the first mode
    assert dict(found.setup)["shots"] == "5-shot"  # and of the last number of shots
    assert found.beta is None
    assert {shots: values.tolist() for shots, values in found.distances.items()} == {5: [0, 1, 2, 3]}


def test_distances_of_every_number_of_shots_are_preferred(tmp_path: Path) -> None:
    found = read(tmp_path / "x.npz", distance_1shot=np.ones(9), distance_1shot_layers=np.ones((9, 2)))
    assert {shots: len(values) for shots, values in found.distances.items()} == {1: 9}


def test_no_archive_is_none_and_read_archives_are_listed(tmp_path: Path) -> None:
    files: list[Path] = []
    assert read_inner(RECORD, tmp_path / "absent.npz", files) is None
    np.savez(tmp_path / "x.npz", **ARRAYS)
    read_inner(RECORD, tmp_path / "x.npz", files)
    assert files == [tmp_path / "x.npz"]


@pytest.mark.parametrize("more", [
    {"inner_alpha": np.ones((4, 3))}, {"inner_beta": np.ones((4, 2, 2))}, {"inner_gamma": np.ones((4, 3))},
    {"inner_losses": np.ones((5, 3))},
])  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(FileFormatError, match=r"x\.npz: inner_\w+"):
        read(tmp_path / "x.npz", **more)
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(FileFormatError, match=r"x\.npz"):
        read_inner(RECORD, tmp_path / "x.npz", [])
