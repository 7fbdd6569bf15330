"""The published methods as combinations of a start, a rule, moving parameters and a schedule of the outer loss.

| method | start | rule | moves | source |
|---|---|---|---|---|
| maml, fomaml | theta | one fixed rate | all | Finn, Abbeel, Levine, ICML 2017, arXiv 1703.03400 |
| maml++ | theta | a rate per step and tensor | all | Antoniou, Edwards, Storkey, ICLR 2019, arXiv 1810.09502 |
| meta-sgd | theta | a rate per parameter | all | Li, Zhou, Chen, Li, 2017, arXiv 1707.09835 |
| anil | theta | one fixed rate | last layer | Raghu, Raghu, Bengio, Vinyals, ICLR 2020, arXiv 1909.09157 |
| boil | theta | one fixed rate | all but the last layer | Oh, Yoo, Kim, Yun, ICLR 2021, arXiv 2008.08882 |
| proto-maml, fo-proto-maml | theta, last layer of prototypes | one fixed rate | all | Triantafillou et al., ICLR 2020, arXiv 1903.03096 |
| l2f | gamma (.) theta | one fixed rate | all | Baik, Hong, Lee, CVPR 2020, arXiv 1906.05895 |
| alfa | theta, random, l2f or prototypes | generated rates and decays | all | Baik et al., NeurIPS 2020, arXiv 2011.00209 |
| reptile, reptile-wc | theta | one fixed rate | all | Nichol, Achiam, Schulman, 2018, arXiv 1803.02999; Goldblum et al., ICML 2020, arXiv 2002.06753 |

"All" is without the affine parameters of batch norm unless `norm_moves`, as in MAML++ and ALFA; the Reptiles, which learn
only what moves, move them too. fomaml, fo-proto-maml and the Reptiles are first order; maml++ is so in the first half of
the outer steps.
"""  # noqa: E501

from __future__ import annotations

from torch import Tensor, nn

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.rules import AbstractRule, LayerStepRule, ParameterRule, PlainRule
from modicum.adaptation.gradient.starts import AbstractStart, PrototypeStart, SharedStart
from modicum.adaptation.gradient.step_norms import StepNorms, norm_parameters
from modicum.adaptation.gradient.support import LossFunction, cross_entropy
from modicum.configs import BatchNorm, Train
from modicum.configs.gradient import FIRST_ORDER, OWN_MOVES, REPTILES, init_of

WEIGHT_DECAY = 5e-4
"""What ALFA's decay starts from, times the inner rate (released code)."""


def moving(model: nn.Module, moves: str, norm_moves: bool = False) -> tuple[str, ...]:
    """Names of the parameters that move: "all", the last layer ("head"), or all but it ("body"), in the model's order.

    The last layer is the module of the last parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    last = names[-1].rpartition(".")[0] + "."
    still = set() if norm_moves else set(norm_parameters(model))
    kept = [name for name in names if name not in still]
    if moves == "head":
        return tuple(name for name in kept if name.startswith(last))
    return tuple(name for name in kept if moves == "all" or not name.startswith(last))


def rule_of(config: Train, tensors: dict[str, Tensor]) -> AbstractRule:
    """The update rule; tensors: the moving ones."""
    if config.method == "maml++":
        return LayerStepRule(tensors, config.inner_steps, config.inner_rate)
    if config.method == "meta-sgd":
        return ParameterRule(tensors, config.inner_rate)
    if config.method == "alfa":
        from modicum.adaptation.gradient.alfa import ALFARule

        return ALFARule(
            tensors, config.inner_steps, config.inner_rate, weight_decay=WEIGHT_DECAY, layers=config.alfa_layers,
            state=config.alfa_state, detach=config.alfa_detach, beta=config.alfa_beta, alpha=config.alfa_alpha,
            decay=config.alfa_decay, per=config.alfa_per, random_start=init_of(config) == "random",
        )  # fmt: skip
    return PlainRule(config.inner_rate)


def start_of(config: Train, tensors: dict[str, Tensor]) -> AbstractStart:
    """The start; tensors: the moving ones."""
    init = init_of(config)
    if init == "l2f":
        from modicum.adaptation.gradient.l2f import AttenuatedStart

        return AttenuatedStart(tensors, detach=config.l2f_detach)
    return PrototypeStart() if init == "prototypes" else SharedStart()


def gradient_learner(
    config: Train, model: nn.Module, n_out: int, function: LossFunction = cross_entropy, batch_norm: BatchNorm | None = None
) -> GradientLearner:
    """The learner of a configuration around a model; its new parameters are drawn from torch's global generator.

    A random start leaves all of the model's parameters untrained (`requires_grad` False), batch norm's included.
    """
    moves = "all" if config.moves == "method" else config.moves
    names = moving(model, OWN_MOVES.get(config.method, moves), config.norm_moves or config.method in REPTILES)
    own = dict(model.named_parameters())
    tensors = {name: own[name].detach() for name in names}
    per_step = config.method == "maml++" if config.per_step_norm is None else config.per_step_norm
    norms = StepNorms(model, config.inner_steps) if per_step and norm_parameters(model) else None
    rule, start = rule_of(config, tensors), start_of(config, tensors)
    if init_of(config) == "random":
        for part in (model, norms):
            if part is not None:
                part.requires_grad_(False)
    return GradientLearner(
        model, start, rule, names, n_out, steps=config.inner_steps, test_steps=config.test_steps, function=function,
        second_order=not (config.first_order or config.method in FIRST_ORDER), batch_norm=batch_norm or config.norm_mode,
        checkpoint=config.checkpoint_inner, strategy=config.strategy, norms=norms,
    )  # fmt: skip
