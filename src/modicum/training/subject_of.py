"""The data of a training and its subject: few-shot tasks of pictures, pictures of all classes, or regression tasks."""

from __future__ import annotations

from collections.abc import Callable

import torch

from modicum.configs import Train
from modicum.configs.long_tail import RAC
from modicum.configs.neighborhoods import NEIGHBORHOODS, is_table
from modicum.configs.regression import is_regression
from modicum.configs.supervised import SUPERVISED
from modicum.configs.tables import WITHOUT_STEPS
from modicum.data.pictures import PictureSet, open_pictures
from modicum.data.regression_tables import RegressionTable
from modicum.runtime import Progress, Ranks
from modicum.training.regression import RegressionSubject, RegressionTasks, open_tasks
from modicum.training.subjects import AbstractSubject, PictureSubject

Data = PictureSet | RegressionTasks | RegressionTable
Make = Callable[[Train, Data, torch.device, Ranks, Progress | None], AbstractSubject]
"""What makes the subject of a training: `make_subject`, or something around it."""


def open_data(config: Train, tasks: RegressionTasks | None = None, progress: Progress | None = None) -> tuple[Train, Data]:
    """(configuration, completed where the data decides, data it names); tasks: those of one's own instead.

    Errors as `open_pictures`, `open_tasks` and `open_table`.
    """
    if is_table(config):
        from modicum.training.tables.subject import open_table

        return config, open_table(config)
    if is_regression(config):
        return config, tasks or open_tasks(config)
    if config.method in SUPERVISED and not is_table(config):
        from modicum.training.supervised_data import open_all_classes

        return open_all_classes(config, progress)
    return config, open_pictures(
        config.data, root=config.root, size=config.image_size, channels=config.channels, splits=config.splits,
        seed=config.seed, progress=progress,
    )  # fmt: skip


def make_subject(
    config: Train, data: Data, device: torch.device, here: Ranks, progress: Progress | None = None
) -> AbstractSubject:
    """The subject of a configuration on its data."""
    if isinstance(data, RegressionTable):
        from modicum.training.tables.subject import TableSubject

        return TableSubject(config, data, device, here)
    if isinstance(data, RegressionTasks):
        return RegressionSubject(config, data, device)
    if config.method == RAC:
        from modicum.training.supervised import SupervisedSubject

        return SupervisedSubject(config, data, device, here, progress)
    if config.method == NEIGHBORHOODS:
        from modicum.training.neighborhoods.subject import NeighborhoodsSubject

        return NeighborhoodsSubject(config, data, device, here, progress)
    return PictureSubject(config, data, device, here)


def fit_at_once(config: Train, data: Data) -> tuple[float | None] | None:
    """Fit what takes no steps (k-NN and trees on a table) and leave its run folder; None for what takes steps.

    The one thing it returns is the validation error, None where no rows validate.
    """
    if not isinstance(data, RegressionTable) or config.baseline not in WITHOUT_STEPS:
        return None
    from modicum.training.tables.baselines import fit_baseline

    return (fit_baseline(config, data),)
