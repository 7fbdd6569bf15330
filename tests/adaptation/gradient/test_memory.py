"""Peak memory of a second-order meta-gradient with checkpointed inner steps, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gradient_memory.py"


def peak(side: str, *options: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--child", side, *options], capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_checkpointed_steps_need_less_memory_for_the_same_bits() -> None:
    task = ("--backbone", "conv4-48", "--size", "84", "--shots", "5", "--queries", "2", "--tasks", "1")
    plain, again = (peak(side, *task) for side in ("plain", "checkpoint"))
    assert again["digest"] == plain["digest"]
    grown = [float(str(found["peak_mib"])) - float(str(found["before_mib"])) for found in (plain, again)]
    assert grown[1] < 0.6 * grown[0]


@pytest.mark.soak
def test_alfa_on_resnet12_fits_in_8_gb() -> None:
    found = peak("checkpoint")  # 84x84, 5-way 5-shot, 15 queries, 5 steps, 2 tasks
    assert float(str(found["peak_mib"])) * 2**20 < 8e9
