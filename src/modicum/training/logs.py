"""The log of a run: one JSON object per line, and TensorBoard where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modicum.errors import WriteError
from modicum.files import write_text


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line that a kill cut short is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


class RunLog:
    """Appends to RUN/log.jsonl; on resume, lines after the resumed step are dropped first, so none stands twice."""

    def __init__(self, run: Path, step: int, tensorboard: bool) -> None:
        path = run / "log.jsonl"
        kept = [line for line in read_log(path) if line["step"] <= step] if step else []
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise WriteError(f"cannot write {path}: {error.strerror}") from error
        self._board = _summary_writer(run / "tensorboard", step) if tensorboard else None

    def write(self, kind: str, step: int, values: dict[str, float | None]) -> None:
        """One line {"kind", "step", **values}."""
        try:
            self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise WriteError(f"cannot write {self._file.name}: {error.strerror}; the last checkpoint is whole") from error
        if self._board is not None:
            for name, value in values.items():
                if value is not None:
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush and close both logs."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _summary_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step or None)
