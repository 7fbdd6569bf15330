"""What options of gradient methods must not be together; no maths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modicum.configs.options import require
from modicum.registry import GRADIENT_METHODS

if TYPE_CHECKING:
    from modicum.configs.training import Train

FIRST_ORDER = ("fomaml", "fo-proto-maml", "reptile", "reptile-wc")
"""Methods without gradients through the inner gradients, whatever `first_order` says."""
OWN_INIT = {"l2f": "l2f", "proto-maml": "prototypes", "fo-proto-maml": "prototypes"}
OWN_MOVES = {"anil": "head", "boil": "body"}
REPTILES = ("reptile", "reptile-wc")


def init_of(config: Train) -> str:
    """What a method's inner loop begins from: "meta", "random", "l2f" or "prototypes"."""
    return OWN_INIT.get(config.method, "meta") if config.init == "method" else config.init


def takes_only_its_ways(config: Train) -> bool:
    """Whether a method learns a last layer, or its rates, for as many outputs as training tasks have classes."""
    return config.method in GRADIENT_METHODS and (init_of(config) != "prototypes" or config.method == "meta-sgd")


def check_gradient(config: Train) -> None:
    """Raise `ConfigError` for options of a gradient method that contradict each other."""
    method = config.method
    for name, own in (("init", OWN_INIT), ("moves", OWN_MOVES)):
        asked = getattr(config, name)
        require(
            asked == "method" or method not in own or own[method] == asked,
            f"{name}: {method} is {own.get(method)!r} by definition, found {asked!r}; take maml or alfa for other choices",
        )
    require(config.alfa_layers in (2, 3), f"alfa_layers: expected 2 or 3, found {config.alfa_layers}")
    require(
        config.init != "random" or method == "alfa",
        f"init: a start that is never trained leaves all learning to the rule; take --method alfa, found {method}",
    )
    first = config.first_order or bool(config.first_order_until)
    require(
        config.alfa_detach or not first or method != "alfa",
        "first_order: alfa with an attached state reads gradients that are differentiated themselves, which takes second "
        "order; give --alfa_detach true, or leave first_order and first_order_until out",
    )
    require(
        not config.checkpoint_inner or config.strategy not in ("vmap", "compiled"),
        f"checkpoint_inner: works with the strategies auto, loop and grouped, found {config.strategy}",
    )
    _check_reptile(config)
    require(config.precision == "float32", f"precision: gradient methods run in float32, found {config.precision}")
    require(not config.per_step_norm or not config.norm_moves, "norm_moves: with per_step_norm they are learned outside")


def _check_reptile(config: Train) -> None:
    method = config.method
    require(
        method in REPTILES or config.inner_batch is None, f"inner_batch: belongs to reptile and reptile-wc, found {method}"
    )
    require(
        method == "reptile-wc" or config.clustering == type(config).clustering,
        f"clustering: belongs to reptile-wc, found {method}",
    )
    if method not in REPTILES:
        return
    why = f"{method} learns by what moves in the inner steps, and by nothing else"
    require(config.moves in ("method", "all"), f"moves: {why}, so all must move; found {config.moves!r}")
    require(config.init in ("method", "meta"), f"init: {why}, and so begins from meta; found {config.init!r}")
    require(not config.per_step_norm, f"per_step_norm: {why}; leave it out")
    require(not config.multi_step, f"multi_step: {why}: it has no loss after inner steps; leave it out")
    require(
        config.strategy in ("auto", "loop", "grouped"),
        f"strategy: {method} has its own inner loop, with the strategies auto, loop and grouped; found {config.strategy}",
    )
