"""What the benchmarks against a peer share: a child process a row, medians with quartiles, cells, the result file."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any


def quartiles(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "low": low, "high": high}


def child(script: str, arguments: list[str], limit: float) -> dict[str, Any] | None:
    """The JSON that the script prints with arguments (`--threads N` among them); None where it fails or takes too long."""
    environment = {**os.environ, "OMP_NUM_THREADS": arguments[arguments.index("--threads") + 1]}
    command = [sys.executable, script, *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        print(f"{' '.join(arguments)}: stopped after {limit:.0f} s", file=sys.stderr)
        return None
    if done.returncode:
        print(f"{' '.join(arguments)}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def shown(times: dict[str, float] | None, unit: float = 1e3) -> str:
    """median [low..high], or - for an absent side."""
    return "-" if times is None else f"{times['median'] * unit:.4g} [{times['low'] * unit:.4g}..{times['high'] * unit:.4g}]"


def write_rows(path: str, rows: list[dict[str, Any]]) -> None:
    """The result file."""
    with open(path, "w") as out:
        json.dump({"schema": 1, "rows": rows}, out, indent=1)
