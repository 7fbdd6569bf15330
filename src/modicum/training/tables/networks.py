"""The networks that regress the rows of a table: adapted by a dictionary, plain, or plain with as many parameters."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modicum.adaptation.neighborhoods.regression import NeighborhoodsRegressor
from modicum.backbones.mlp import MLP, hidden_widths
from modicum.configs import Train
from modicum.data.standardising import Floats, Scaling
from modicum.memory.dictionary import KEY_DEVIATION, LearnedDictionary
from modicum.training.tables.models import AbstractTableModel, Near

TABLE_KEY_DEVIATION = 0.1
"""Keys in input space start from N(0, 0.01), read as mean and variance; the released 0.05 is that of classifiers."""
ROWS_PER_CALL = 1_024


@final
class TableNetwork(nn.Module, AbstractTableModel):
    """A regressor of standardised numbers, with the scaling of the training rows as float64 buffers."""

    x_mean: Tensor
    x_deviation: Tensor
    y_mean: Tensor
    y_deviation: Tensor

    def __init__(self, regressor: NeighborhoodsRegressor, x: Scaling, y: Scaling) -> None:
        super().__init__()
        self.regressor = regressor
        for name, values in (("x", x), ("y", y)):
            self.register_buffer(f"{name}_mean", torch.from_numpy(np.asarray(values.mean, np.float64).copy()))
            self.register_buffer(f"{name}_deviation", torch.from_numpy(np.asarray(values.deviation, np.float64).copy()))

    @property
    def inputs(self) -> Scaling:
        """The scaling of the inputs."""
        return Scaling(self.x_mean.cpu().numpy(), self.x_deviation.cpu().numpy())

    @property
    def outputs(self) -> Scaling:  # type: ignore[override]
        """The scaling of the targets."""
        return Scaling(self.y_mean.cpu().numpy(), self.y_deviation.cpu().numpy())

    def standardised(self, x: Floats) -> Tensor:
        """Rows (n, D) as the network reads them, float32, where its parameters are."""
        where = self.regressor.network.layers[0].weight
        return torch.from_numpy(self.inputs.apply(x)).to(where)  # type: ignore[arg-type]

    def outputs_of(self, x: Floats) -> NDArray[np.float64]:
        """Standardised outputs (steps + 1, n, O) of rows (n, D) before the first inner step and after each."""
        found = []
        with torch.no_grad():
            for start in range(0, len(x), ROWS_PER_CALL):
                found.append(self.regressor.trajectory(self.standardised(x[start : start + ROWS_PER_CALL])).cpu().double())
        return torch.cat(found, 1).numpy()

    def nearest(self, x: Floats, count: int) -> list[list[Near]]:
        """The entries that each row attends to most, the most first; none without a dictionary."""
        dictionary, found = self.regressor.dictionary, list[list[Near]]()
        if dictionary is None:
            return super().nearest(x, count)
        with torch.no_grad():
            values = self.outputs.undo(dictionary.values().cpu().double().numpy())
            for start in range(0, len(x), ROWS_PER_CALL):
                w = self.regressor.attention(self.standardised(x[start : start + ROWS_PER_CALL]))
                weights, places = (part.tolist() for part in w.topk(min(count, dictionary.entries)))
                for row, places_of_row in zip(weights, places, strict=True):
                    pairs = zip(places_of_row, row, strict=True)
                    found.append([Near(j, weight, tuple(values[j].tolist())) for j, weight in pairs])
        return found


def as_many(hidden: tuple[int, ...], inputs: int, outputs: int, entries: int) -> tuple[int, ...]:
    """Hidden widths with one more layer, so that the network has as many more parameters as a dictionary has numbers.

    Between the last width h and O outputs, m more units add m (h + 1) + (m + 1) O - (h + 1) O, which is to be S (D + O).
    """
    last = hidden[-1]
    return (*hidden, max(1, round((entries * (inputs + outputs) + last * outputs) / (last + 1 + outputs))))


def build_table_network(config: Train, x: Scaling, y: Scaling, targets: tuple[Tensor, Tensor] | None = None) -> TableNetwork:
    """A fresh network; a function of config.seed and touches no global random state.

    targets: lowest and highest standardised target (O,), None where the values are read from a checkpoint.
    """
    inputs, outputs = len(x.mean), len(y.mean)
    hidden = hidden_widths(config.backbone)
    if config.baseline == "parameters":
        hidden = as_many(hidden, inputs, outputs, int(config.entries))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = MLP(inputs, hidden, outputs)
        dictionary = None if config.baseline != "none" else _dictionary(config, inputs, outputs, targets)
    regressor = NeighborhoodsRegressor(
        network, dictionary, steps=config.inner_steps, rates=config.inner_rates, initial_rate=config.inner_rate
    )
    return TableNetwork(regressor, x, y)


def _dictionary(config: Train, inputs: int, outputs: int, targets: tuple[Tensor, Tensor] | None) -> LearnedDictionary:
    made = LearnedDictionary(
        int(config.entries), inputs, outputs, temperature=config.temperature, learn_temperature=config.learn_temperature,
        values="targets", target_range=targets or (0.0, 1.0),
    )  # fmt: skip
    with torch.no_grad():
        made.keys.mul_(TABLE_KEY_DEVIATION / KEY_DEVIATION)
    return made
