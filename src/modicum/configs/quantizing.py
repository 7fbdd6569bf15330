"""Options of `quantize`. Field comments are the help texts of the command line, those above fields begin a group."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from modicum.configs.low_bit import NARROWEST, WIDEST, Cyclic, LowBit, Weights
from modicum.configs.options import require
from modicum.configs.usual import is_usual, usual

Carries = Literal["none", "simulate", "buffer", "hybrid"]
NONE, FLOAT, AUTO = "none", "float", "auto"
STEP_BITS, PENALTY, CARRY_PENALTY = 8, 0.01, 0.01
"""Accumulator that steps are chosen for where sums are exact; weights of the penalties where none are asked for."""
MOST_BITS = 8
"""Widest activations."""


@dataclass(frozen=True)
class Quantize:
    """A run again with 1 to 5-bit weights, few-bit activations and accumulators that wrap (WrapNet), and what that costs."""

    run: str  # folder of `train` to begin from: a head, classical, meta-neighborhoods or rac
    out: str  # folder of the quantised run, made here; its first stages lie in it
    # arithmetic
    weights: Weights = "binary"  # binary, ternary, uniform of 3 to 5 bits; float: trained on as it is, to compare with
    accumulator: str = usual("8")  # bits of sums that wrap, 4 to 16; none: exact sums (BWN-QA, TWN-QA)
    activations: str = usual("auto")  # auto: steps from --overflow; 1 to 8 bits; float (BWN, TWN; takes --accumulator none)
    overflow: float = 5.0  # auto: per cent of the sums of a layer that leave the accumulator at first
    step_bits: int | None = None  # accumulator that steps are chosen for (default: the one there is, 8 where there is none)
    one_step: bool | None = None  # one step size for all layers (default: backbones named resnet, as published)
    cyclic: Cyclic = "smooth"  # what follows a sum that wrapped; none: nothing, in training neither
    slope: float = 2.0  # k of smooth and relu
    relu: bool = True  # keep the network's ReLUs
    ends: Literal["float", "8"] = "float"  # the first layer stays float, or has 8-bit weights and inputs
    keep_float: list[str] = field(default_factory=list)  # names of further layers that stay float
    # stages
    steps: int | None = None  # steps of the last stage, on codes (default: half of the run's, at least 200)
    warmup_steps: int | None = None  # steps of the stage before it, on real numbers; 0: none (default: as steps)
    pretrain_steps: int | None = None  # steps of the first stage, quantised weights alone; 0: none (default: as steps)
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"  # sgd: Nesterov momentum 0.9
    learning_rate: float = 1e-3  # learning rate at the start of every stage
    weight_decay: float = 0.0  # L2 penalty
    schedule: Literal["wrapnet", "wrapnet-imagenet", "cosine", "constant"] = "wrapnet"  # tenths at .3 .6 .9, or 1/3 2/3 5/6
    penalty: float = usual(PENALTY)  # weight of the overflow penalty (exact sums: 0; published for ImageNet: 0.001)
    penalty_in_warmup: bool = False  # penalties in the warm-up too (published for ResNets on ImageNet)
    # bit packing without vector instructions
    carries: Carries = "none"  # simulate: count carries into sums; buffer: a spare bit takes them; hybrid: both, by layer
    carry_penalty: float = usual(CARRY_PENALTY)  # weight of the carries' variance (not published)
    layer_steps: int | None = None  # steps for each layer whose carries are let through (default: a tenth of steps)
    hybrid_drop: float = 2.0  # hybrid: points of validation accuracy that may be lost before layers take the buffer bit
    # data and files
    calibration: int = 1_000  # training pictures that step sizes are chosen on, and statistics measured
    data: str | None = None  # where the run's pictures are now (default: where it was trained on them)
    root: str | None = None  # where known data sets lie
    splits: str | None = None  # where the run's file of splits is now
    export: str | None = None  # also write an integer network to this file
    measure: bool = True  # accuracy of every stage, and of the last one under other accumulators
    seed: int = 0  # seed of the calibration pictures; everything else has the run's
    device: str = "auto"  # auto | cpu | cuda
    threads: int | None = None  # CPU threads of torch
    resume: bool = False  # go on where this command stopped in OUT
    json: str | None = None  # write the result here too

    def __post_init__(self) -> None:
        self._settle()
        for name in ("accumulator", "activations"):
            _whole(name, getattr(self, name), (NONE,) if name == "accumulator" else (AUTO, FLOAT))
        form = self.form  # its own checks: bits, slope
        require(
            form.accumulator is not None or (self.cyclic == "smooth" and self.slope == type(self).slope),
            f"cyclic, slope: of sums that wrap, and --accumulator is {NONE}; leave them out, or give --accumulator 8",
        )
        if self.weights == FLOAT:
            self._check_float()
        require(
            self.slope == type(self).slope or self.cyclic in ("smooth", "relu"),
            f"slope: of --cyclic smooth and relu, found {self.cyclic}; leave it out",
        )
        require(
            self.export is None or self.activations != FLOAT,
            "export: an integer network takes activations of few bits, and these stay float; leave it out",
        )
        bits = self.activation_bits
        require(bits is None or 1 <= bits <= MOST_BITS, f"activations: expected 1 to {MOST_BITS} bits, found {bits}")
        require(
            self.activations != FLOAT or form.accumulator is None,
            f"activations: float sums do not wrap; give --accumulator {NONE}, or --activations {AUTO}",
        )
        require(0 <= self.overflow < 100, f"overflow: expected per cent, 0 or more and below 100, found {self.overflow}")
        chosen = self.overflow != type(self).overflow or self.one_step is not None
        require(
            bits is None or not chosen,
            f"overflow, one_step: of step sizes that --activations {AUTO} chooses, and {self.activations} bits were asked "
            "for; leave them out",
        )
        require(
            self.step_bits is None or NARROWEST <= self.step_bits <= WIDEST,
            f"step_bits: expected {NARROWEST} to {WIDEST} bits, found {self.step_bits}",
        )
        self._check_penalties()
        self._check_carries()
        self._check_numbers()

    def _settle(self) -> None:
        """Make defaults that depend on other options plain."""
        whole = self.weights == FLOAT
        for name, value in (("accumulator", NONE if whole else "8"), ("activations", FLOAT if whole else AUTO)):
            if is_usual(getattr(self, name)):
                object.__setattr__(self, name, value)
        if is_usual(self.penalty):
            object.__setattr__(self, "penalty", 0.0 if self.accumulator == NONE else PENALTY)
        if is_usual(self.carry_penalty):
            object.__setattr__(self, "carry_penalty", CARRY_PENALTY if self.counts_carries else 0.0)

    def _check_float(self) -> None:
        for name, expected in (("accumulator", NONE), ("activations", FLOAT), ("ends", FLOAT), ("carries", NONE)):
            value = getattr(self, name)
            require(
                value == expected,
                f"{name}: --weights {FLOAT} trains the network on as it is, and {value} says otherwise; leave it out",
            )
        require(self.relu and not self.keep_float, f"relu, keep_float: --weights {FLOAT} changes no layer; leave them out")

    def _check_penalties(self) -> None:
        for name in ("penalty", "carry_penalty"):
            value = getattr(self, name)
            require(0 <= value < float("inf"), f"{name}: expected 0 or more, found {value}")
        require(
            self.penalty == 0 or self.accumulator != NONE,
            f"penalty: of sums that leave the accumulator, and --accumulator is {NONE}; leave it out",
        )
        require(
            self.carry_penalty == 0 or self.counts_carries,
            f"carry_penalty: of carries that are counted, and --carries is {self.carries}; leave it out",
        )

    def _check_carries(self) -> None:
        if self.carries != NONE:
            require(
                self.weights in ("binary", "ternary"),
                f"carries: packed sums are of binary or ternary weights, found --weights {self.weights}",
            )
            require(self.accumulator != NONE, f"carries: of sums that wrap, and --accumulator is {NONE}; leave it out")
        require(
            self.layer_steps is None or self.counts_carries,
            f"layer_steps: of --carries simulate or hybrid, found {self.carries}; leave it out",
        )
        require(
            self.hybrid_drop == type(self).hybrid_drop or self.carries == "hybrid",
            f"hybrid_drop: of --carries hybrid, found {self.carries}; leave it out",
        )
        require(self.hybrid_drop >= 0, f"hybrid_drop: expected 0 or more points, found {self.hybrid_drop}")

    def _check_numbers(self) -> None:
        for name in ("steps", "layer_steps", "calibration", "threads"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name}: expected at least 1, found {value}")
        for name in ("warmup_steps", "pretrain_steps", "weight_decay"):
            value = getattr(self, name)
            require(value is None or value >= 0, f"{name}: expected 0 or more, found {value}")
        require(self.learning_rate > 0, f"learning_rate: expected more than 0, found {self.learning_rate}")

    @property
    def form(self) -> LowBit:
        """What the layers share, as it stands behind the backbone's name."""
        bits = None if self.accumulator == NONE else int(self.accumulator)
        return LowBit(self.weights, bits, self.cyclic, self.slope, self.relu, self.ends)

    @property
    def activation_bits(self) -> int | None:
        """The asked-for bits of activations, None where steps are chosen from the overflow, or there are none."""
        return None if self.activations in (AUTO, FLOAT) else int(self.activations)

    @property
    def counts_carries(self) -> bool:
        """Whether carries are let through and counted into sums, in some layers at least."""
        return self.carries in ("simulate", "hybrid")

    @property
    def chosen_for(self) -> int:
        """Bits of the accumulator that step sizes are chosen for, a buffer bit not yet taken away."""
        if self.step_bits is not None:
            return self.step_bits
        return STEP_BITS if self.accumulator == NONE else int(self.accumulator)

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantised: the full-precision network that others are compared with."""
        return self.weights == FLOAT


def _whole(name: str, value: str, words: tuple[str, ...]) -> None:
    require(
        value in words or (value.isascii() and value.isdecimal() and len(value) < 10),
        f"{name}: expected a number of bits or {' or '.join(words)}, found {value!r}",
    )
