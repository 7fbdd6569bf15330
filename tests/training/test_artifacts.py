"""Artifacts of evaluations: the latest in one place, what inner loops did beside each result."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modicum.training.artifacts import write_artifacts


def test_what_inner_loops_did_is_kept_for_every_result(tmp_path: Path) -> None:
    for number, name in enumerate(("digits-5.5way.json", "omniglot-5.5way.json")):
        parts = {"classes": np.array(["a"]), "inner_losses": np.full((2, 3), number), "distance_5shot": np.full(2, number)}
        write_artifacts(tmp_path, tmp_path / "results" / name, parts)
    for number, name in enumerate(("digits-5.5way.npz", "omniglot-5.5way.npz")):
        with np.load(tmp_path / "results" / name) as found:
            assert sorted(found.files) == ["distance_5shot", "inner_losses"]
            assert (found["inner_losses"] == number).all()
    with np.load(tmp_path / "artifacts.npz") as found:
        assert (found["inner_losses"] == 1).all()
        assert "classes" in found.files


def test_results_of_heads_have_no_archive_beside_them(tmp_path: Path) -> None:
    write_artifacts(tmp_path, tmp_path / "results" / "x.json", {"classes": np.array(["a"])})
    assert [path.name for path in tmp_path.rglob("*")] == ["artifacts.npz"]
