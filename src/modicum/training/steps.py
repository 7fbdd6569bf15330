"""The parts of one training step: augmented episode, loss, optimiser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.augmentation.baseline import augment, draw, padding_of
from modicum.backbones.encoder import Strokes, light_strokes
from modicum.configs import Train
from modicum.episodes.sampler import Tasks
from modicum.episodes.types import Episode


def augmented(episode: Episode, tasks: Tasks, seed: int, strokes: Strokes = "as-is") -> Episode:
    """The episode under the baseline augmentation, drawn per picture from (seed, task number).

    Polarity is decided before: a crop's padding is dark, and would change what the border of light paper says.
    """
    parts = []
    for name, data in (("support", episode.support), ("query", episode.query)):
        padding = padding_of(data.x.shape[-1])
        draws = draw(tasks.number, data.x.shape[1], padding, seed, f"augment/{name}")
        x = light_strokes(data.x.float() / 255) if strokes == "light" else data.x
        parts.append(data._replace(x=augment(x, draws, padding)))
    return episode._replace(support=parts[0], query=parts[1])


def episode_loss(logits: Tensor, episode: Episode) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and accuracy of query logits (E, Q, N); padded queries do not count."""
    flat, y = _there(logits, episode)
    return F.cross_entropy(flat, y), episode_accuracy(logits, episode)


def episode_accuracy(logits: Tensor, episode: Episode) -> Tensor:
    """Accuracy of query logits (E, Q, N); padded queries do not count."""
    flat, y = _there(logits, episode)
    return (flat.argmax(-1) == y).float().mean()


def _there(logits: Tensor, episode: Episode) -> tuple[Tensor, Tensor]:
    """Logits (n, N) and labels (n,) of the queries that are no padding."""
    logits, y = logits.flatten(0, 1), episode.query.y.flatten()
    if episode.query.mask is not None:
        keep = episode.query.mask.flatten()
        logits, y = logits[keep], y[keep]
    return logits, y


def make_optimizer(module: nn.Module, config: Train) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum 0.9 (Lee et al. 2019), Adam (Snell et al. 2017), or AdamW (Long et al. 2022, table S7).

    Adam's weight decay is a penalty of the loss, AdamW's a factor on the weights (Loshchilov and Hutter, arXiv 1711.05101),
    here on all parameters: betas 0.9 and 0.999, epsilon 1e-8.
    """
    return grouped_optimizer([(module, config.weight_decay)], config)


def grouped_optimizer(groups: Sequence[tuple[nn.Module, float]], config: Train) -> torch.optim.Optimizer:
    """The same over the parameters of several modules, each with its weight decay; one that two hold is the first's."""
    seen: set[nn.Parameter] = set()
    decayed = []
    for module, decay in groups:
        own = [p for p in module.parameters() if p.requires_grad and p not in seen]
        seen.update(own)
        decayed.append({"params": own, "weight_decay": decay})
    if config.optimizer == "sgd":
        return torch.optim.SGD(decayed, config.learning_rate, momentum=0.9, nesterov=True)
    return (torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam)(decayed, config.learning_rate)


def diverged(module: nn.Module, config: Train, step: int, value: float, otherwise: str) -> str:
    """What to say of a loss `value` that is not finite at a step; otherwise: the cause where all parameters are finite."""
    bad = [name for name, p in module.named_parameters() if not bool(torch.isfinite(p).all())]
    cause = f"parameter {bad[0]!r} is not finite since an earlier step" if bad else otherwise
    return (
        f"the loss is {value} at step {step}: {cause}; the likely cause is a learning rate of "
        f"{config.learning_rate} that is too high for --optimizer {config.optimizer}: start again with a "
        f"tenth of it and another --out. What {config.out} holds from before is whole"
    )


def finite_gradients(parameters: Sequence[nn.Parameter]) -> bool:
    """Whether every entry of every gradient is finite; one look at all of them."""
    largest = [p.grad.detach().abs().amax() for p in parameters if p.grad is not None and p.numel()]
    return not largest or bool(torch.isfinite(torch.stack(largest)).all())


def clip_gradients(parameters: Sequence[nn.Parameter], config: Train) -> None:
    """Clamp the entries of gradients to +- `clip`, and shorten all of them together to the L2 norm `clip_norm`."""
    if config.clip is not None:
        nn.utils.clip_grad_value_(parameters, config.clip)
    if config.clip_norm is not None:
        nn.utils.clip_grad_norm_(parameters, config.clip_norm)
