"""One table as the subject of a training: its parts, its scaling, validation by the squared error, what a run says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from modicum.configs import Train, require
from modicum.configs.tables import with_rows
from modicum.data.regression_tables import PARTS, Held, RegressionTable, read_regression_table
from modicum.data.standardising import scaling_of
from modicum.errors import ConfigError
from modicum.evaluation.intervals import MeanInterval, mean_interval
from modicum.runtime import Ranks
from modicum.training.processes import summed
from modicum.training.subjects import AbstractSubject
from modicum.training.tables.networks import build_table_network
from modicum.training.tables.objective import TableObjective


def open_table(config: Train) -> RegressionTable:
    """The table that a configuration names; `ConfigError` for other data, `DataError` for one that cannot be used."""
    assert config.target is not None
    path = Path(config.data)
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        raise ConfigError(f"data: expected a .csv or .csv.gz with a column for --target, found {config.data!r}")
    held = Held(config.fold_file, config.fold, config.test_share, config.validation_share, config.seed)
    return read_regression_table(path, config.target, held)


def table_record(table: RegressionTable) -> dict[str, Any]:
    """What config.json says of a table."""
    return {
        "encoder": None,
        "table": {"inputs": list(table.inputs), "targets": list(table.targets)},
        "data": {
            "name": table.name,
            "rows": len(table.x),
            "parts": {part: len(table.rows(part)) for part in PARTS},
            "splits": {},
            "digest": table.digest(),
        },
        "split_rule": table.rule,
    }


@final
class TableSubject(AbstractSubject):
    """Rows of a table; validated by the mean squared error of standardised targets after adaptation."""

    measure = "mse"
    objective: TableObjective

    def __init__(self, config: Train, table: RegressionTable, device: torch.device, here: Ranks) -> None:
        self.table, self.digest = table, table.digest()
        rows, self.validation = table.rows("train"), table.rows("val")
        self.config = config = with_rows(config, len(rows))
        require(
            config.batch_pictures % here.size == 0,
            f"batch_pictures: {config.batch_pictures} rows cannot be shared evenly by {here.size} processes",
        )
        x, y = table.x[rows], table.y[rows]
        outputs = scaling_of(y)
        scaled = torch.from_numpy(outputs.apply(y)).float()
        network = build_table_network(config, scaling_of(x), outputs, (scaled.amin(0), scaled.amax(0)))
        self.objective = TableObjective(config, network, x, y, device)
        self.validated = len(self.validation) > 1
        self.note = "" if self.validated else "no rows held out for validation: the last weights count as the best"

    def validate(self, here: Ranks) -> MeanInterval:
        """Mean squared error of the validation rows, in variances of the training targets."""
        network, rows = self.objective.network, self.validation
        errors = torch.zeros(len(rows), dtype=torch.float64)
        mine = np.arange(here.rank, len(rows), here.size)
        if len(mine):
            found = network.outputs_of(self.table.x[rows[mine]])[-1]
            errors[mine] = torch.from_numpy(np.square(found - network.outputs.apply(self.table.y[rows[mine]])).mean(1))
        if here.size > 1:
            errors = summed(errors.to(self.objective.device)).cpu()
        return mean_interval(errors.numpy(), "validation rows")

    def keep(self, run: Path, steps: int, validation: float | None) -> None:
        """Nothing: the checkpoint holds it all."""

    def record(self) -> dict[str, Any]:
        """Columns, rows and parts of the table, and the number of parameters of the network."""
        parameters = sum(each.numel() for each in self.objective.network.parameters())
        return {**table_record(self.table), "note": self.note, "parameters": parameters}
