"""Options of `train`. Field comments are the help texts of the command line, comments above fields begin a group of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modicum.configs.gradient import check_gradient
from modicum.configs.long_tail import (
    RAC,
    Branches,
    Decouple,
    Exclude,
    Loss,
    Sampler,
    Tail,
    Weighting,
    check_long_tail,
    usual_of_rac,
)
from modicum.configs.neighborhoods import (
    NEIGHBORHOODS,
    Augmentation,
    Baseline,
    DecayForm,
    Draw,
    EntryValues,
    Modulate,
    OutputLayer,
    Rates,
    check_neighborhoods,
    usual_of_neighborhoods,
)
from modicum.configs.options import (
    Adaptivity,
    BatchNorm,
    Init,
    Moves,
    Precision,
    Regularizer,
    Schedule,
    Strategy,
    require,
    require_known,
)
from modicum.configs.regression import check_regression
from modicum.configs.supervised import check_supervised
from modicum.configs.usual import settle, usual
from modicum.registry import BACKBONES, GRADIENT_METHODS, METHODS

_COUNTS = (
    "ways", "shots", "queries", "batch", "batch_pictures", "steps", "validate_every", "validation_tasks", "halve_every",
    "support_pool", "query_pool", "task_pool", "keep_every", "inner_steps", "test_steps", "inner_batch", "neighbours",
    "epochs", "decouple_steps", "patience", "entries",
)  # fmt: skip


@dataclass(frozen=True)
class Train:
    """Training on few-shot tasks, on all classes at once, or on a table; under torchrun, processes share every step."""

    data: str  # folder, CSV, zip, or digits | omniglot | cifar10 | cifar100[-coarse] | cifar-fs | fc100 | mini-imagenet, ...
    out: str  # folder of the run, made here
    root: str | None = None  # where known data sets lie (default: MODICUM_DATA)
    splits: str | None = None  # JSON file with the classes of each split; without one 64/16/20 by a seeded rule
    method: str = "protonet"  # a head (protonet, r2d2, ...), gradient method (maml, ...), classical, rac, meta-neighborhoods
    backbone: str = usual("conv4-64")  # conv4-64, resnet12, resnet29, densenet40-bc, timm/NAME, mlp-40-40, ...
    ways: int = 5  # classes per training task
    shots: int = 5  # support pictures per class
    queries: int = 15  # query pictures per class
    batch: int = 4  # tasks per step
    steps: int = usual(10_000)  # steps of training (rac, meta-neighborhoods: 30 epochs, at least 1,000)
    seed: int = 0  # seed of parameters and tasks
    device: str = "auto"  # auto | cpu | cuda
    threads: int | None = None  # CPU threads of torch
    resume: bool = False  # go on from the last checkpoint in the run folder
    # optimisation
    optimizer: Literal["sgd", "adam", "adamw"] = usual("adam")  # sgd: Nesterov momentum 0.9 (reptile: plain)
    learning_rate: float = usual(1e-3)  # learning rate at the start (rac from trained weights: 1e-4)
    weight_decay: float = usual(0.0)  # L2 penalty (rac: 0.02, meta-neighborhoods: 7.5e-5)
    clip: float | None = None  # entries of a step's gradient are clamped to +- this (MAML++, released code: 10)
    clip_norm: float | None = None  # a step's gradient is shortened to this L2 norm (rac: 1)
    schedule: Schedule = usual("halving")  # how the learning rate falls; lee and classical: as published (rac: cosine-warm)
    halve_every: int = 2_000  # steps between two halvings of the learning rate under the schedule halving
    warmup: int = usual(0)  # steps at the start at a tenth of the learning rate (cosine-warm: rising to it)
    skip_diverged: int = 0  # leave out up to so many steps whose loss or gradient is not finite, instead of stopping
    precision: Precision = "float32"  # numbers of the forward pass; bfloat16: automatic mixed precision
    # pictures
    augment: bool = False  # horizontal flip, random crop, colour jitter on support and query
    image_size: int | None = None  # side in pixels (default: the data set's usual one)
    channels: int | None = None  # 1 or 3 (default: the data set's usual one)
    batch_norm: Literal["running", "support", "batch", "method"] = "method"  # test statistics (heads: running, else support)
    # heads
    penalty: float = 50.0  # ridge, r2d2, metaoptnet-rr: lambda (at the start where it is learned)
    svm_c: float = 0.1  # metaoptnet-svm: C, the weight of the hinge losses
    probe_c: float = 1.0  # linear, svm: C, the weight of the losses against the L2 penalty
    normalize: bool = False  # protonet: divide squared distances by the number of features
    # gradient methods (maml, alfa, reptile, ...)
    inner_steps: int = usual(5)  # steps on each support set (meta-neighborhoods: 1, on the dictionary)
    inner_rate: float = usual(0.01)  # rate of these steps (at the start where it is learned)
    test_steps: int | None = None  # steps at test time (default: inner_steps)
    first_order: bool = False  # no gradient through the inner gradients
    init: Init = "method"  # what steps begin from (meta: learned; random: a draw, never trained)
    moves: Moves = "method"  # what moves in the inner steps
    norm_moves: bool = False  # weights and biases of batch norm move too
    multi_step: int | None = None  # outer steps over which the losses after all inner steps fade (maml++: 15 %, else 0)
    first_order_until: int | None = None  # outer steps of first order before second (maml++: half of them, else 0)
    per_step_norm: bool | None = None  # batch norm of its own for each inner step (maml++: yes)
    checkpoint_inner: bool = False  # memory for one inner step only, for more time
    strategy: Strategy = "auto"  # loop | grouped | vmap | compiled over the tasks of a step
    # alfa
    alfa_state: Literal["both", "weights", "gradients"] = "both"  # what the generator sees
    alfa_layers: int = 3  # linear layers of the generator (paper 3, released code 2)
    alfa_detach: bool = True  # no gradient through the gradients that the generator sees (released code)
    alfa_beta: Literal["one-minus", "direct"] = "one-minus"  # beta is 1 - b0 b1 (released code), or b0 b1 as printed
    alfa_alpha: Adaptivity = "generated"  # learning rates are generated, learned or fixed
    alfa_decay: Adaptivity = "generated"  # weight decays are generated, learned or fixed
    alfa_per: Literal["step-layer", "step", "layer", "none"] = "step-layer"  # which multipliers differ
    l2f_detach: bool = False  # l2f: its gate sees the gradients as constants (L2F's own code), which is cheaper
    # reptile
    clustering: float = 5e-5  # reptile-wc: weight of the clustering of weights, published: mu times the 2 of its gradient
    inner_batch: int | None = None  # reptile: support pictures per inner step (default: all)
    # regression
    target: str | None = None  # the column to predict (CSV or NPZ of tasks; meta-neighborhoods: one table)
    # classical training
    batch_pictures: int = usual(128)  # pictures per step, also of rac (there at most all)
    regularizer: Regularizer = "none"  # what is added to the cross-entropy
    coefficient: float = 0.05  # weight of the regularizer
    # rac and long tails
    branches: Branches = "both"  # what is trained; base: the plain baseline; retrieval: the memory alone
    loss: Loss = usual("lace")  # of the logits of both branches together (second stage: ce)
    weighting: Weighting | None = None  # weights of classes by their number of pictures (default: the loss's own)
    tau: float = 1.0  # how strongly a loss is adjusted to the numbers of pictures
    label_smoothing: float | None = None  # share of a label that goes to all classes (default: lace 0.1, else 0)
    focal_gamma: float = 2.0  # focal: exponent
    sampler: Sampler = usual("plain")  # how pictures are drawn; balanced: every class alike (second stage: balanced)
    epochs: int | None = None  # passes over the training pictures, instead of steps
    memory: str | None = None  # a memory to retrieve from (default: one of the training pictures, made in RUN/memory)
    encoder: str | None = None  # frozen encoder of the memory: RUN, timm/NAME, ... (default: the memory's, else pictures)
    neighbours: int = usual(30)  # items retrieved for each picture (at most as many as there are)
    text: str = "random"  # text encoder: random | -sum | -printed, FILE of word vectors, [clip|clip-frozen|sentence]:PATH
    exclude: Exclude = "identity"  # how a training picture does not find itself; rank: the first item is dropped, always
    cache_neighbours: bool = False  # retrieve once for each training picture as it is, not for its augmented form
    pretrained: str | None = None  # weights the base branch begins from: a RUN or an encoder (default: random ones)
    decouple: Decouple = "none"  # second stage after RUN/first or --pretrained: crt (new layers), lws (lengths of rows)
    decouple_steps: int | None = None  # steps of the second stage (default: a third of the first)
    imbalance: float = 1.0  # train on a long tail: so many times more pictures in the largest class than in the smallest
    imbalance_kind: Tail = "exponential"  # how numbers of pictures fall from class to class
    rand_augment: bool = True  # RandAugment, flip, random scale and crop of the training pictures
    test_share: float = 0.2  # pictures of each class held out for evaluate, where the data does not say which
    validation_share: float = 0.1  # pictures of each class held out for validation, likewise
    group: str | None = None  # CSV column (or of a CSV beside the pictures) whose pictures are not split
    # meta-neighborhoods
    baseline: Baseline = "none"  # instead: without a dictionary, with as many parameters, k-NN, boosted trees (tables)
    entries: int = usual(5_000)  # S, entries of the dictionary (more than 20 classes: 10,000; tables: 1,000)
    temperature: float = usual(0.2)  # T of the attention over entries, which are weighed by exp(cosine / T) (tables: 0.1)
    learn_temperature: bool = False  # learn T too, which collapses
    inner_rates: Rates = "scalar"  # one rate of the inner steps is learned, or one for each feature
    entry_dropout: float = usual(0.5)  # share of the entries that a training step leaves out (tables: 0)
    dropout_draw: Draw = "query"  # which: drawn for every picture, or once for a step, which is cheaper
    output_layer: OutputLayer = "cosine"  # logits are tau cos(z, w), or z w + b
    entry_values: EntryValues = "learned"  # what entries stand for is learned, or fixed, as many for every class
    modulate: Modulate = "none"  # iFiLM: which batch norms have a small dictionary of their own
    film_entries: int = 10  # entries of each of them
    decay_form: DecayForm = "tensorflow"  # adamw's weight decay: as printed, w -= wd w; torch: w -= rate wd w
    augmentation: Augmentation = "usual"  # of training pictures (usual: auto-augment with Cutout; of one channel: crop)
    fold_file: str | None = None  # tables: CSV with a column for each fold, not 0 where a row is a test row of it
    fold: int | None = None  # which of these folds, from 0
    # less diverse tasks
    support_pool: int | None = None  # support pictures come from so many fixed ones of each class (default: all)
    query_pool: int | None = None  # query pictures come from so many fixed ones of each class (default: all)
    task_pool: int | None = None  # so many fixed sets of classes, which use every class (default: any set)
    support_noise: bool = False  # the support pool of each class is fixed random noise instead of pictures
    # validation and checkpoints
    with_val: bool = False  # train on the validation classes too ("+val"); then nothing is validated
    keep_best: int = 0  # keep so many checkpoints with the best validation, for evaluate --ensemble best
    keep_every: int | None = None  # keep a checkpoint every so many steps, for evaluate --ensemble periodic
    validate_every: int = usual(500)  # training steps between validations (rac: an epoch, at least 50)
    patience: int | None = None  # stop after so many validations without a better one (tables: 10)
    validation_tasks: int = 200  # tasks of a validation
    validation_ways: int = 5  # ways of validation tasks (fewer where the split has fewer classes)
    validation_shots: int = 1  # shots of validation tasks
    tensorboard: bool = True  # also write TensorBoard logs where tensorboard is installed

    def __post_init__(self) -> None:
        if self.method == RAC:
            settle(self, usual_of_rac(self))
            object.__setattr__(self, "clip_norm", 1.0 if self.clip_norm is None else self.clip_norm)
        elif self.method == NEIGHBORHOODS:
            settle(self, usual_of_neighborhoods(self))
            object.__setattr__(self, "clip", 10.0 if self.clip is None else self.clip)
        else:
            settle(self)
        for name in _COUNTS:
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name}: expected at least 1, found {value}")
        for name in ("keep_best", "warmup", "multi_step", "first_order_until", "skip_diverged"):
            require((getattr(self, name) or 0) >= 0, f"{name}: expected 0 or more, found {getattr(self, name)}")
        for name in ("learning_rate", "inner_rate", "penalty", "svm_c", "probe_c"):
            require(getattr(self, name) > 0, f"{name}: expected more than 0, found {getattr(self, name)}")
        for name in ("clip", "clip_norm"):
            value = getattr(self, name)
            require(value is None or value > 0, f"{name}: expected more than 0, found {value}")
        for name in ("weight_decay", "coefficient", "clustering"):
            require(getattr(self, name) >= 0, f"{name}: expected 0 or more, found {getattr(self, name)}")
        require(self.ways >= 2, f"ways: expected at least 2 classes to tell apart, found {self.ways}")
        require(self.channels in (None, 1, 3), f"channels: expected 1 or 3, found {self.channels}")
        require(
            self.method != "fine-tune",
            "method: fine-tune is for test time (evaluate --head fine-tune); meta-training through steps of the whole "
            "network is maml",
        )
        require_known("method", self.method, METHODS)
        require_known("backbone", self.backbone.partition("+")[0], BACKBONES, ("timm/", "torchvision/", "mlp-"))
        check_regression(self)
        check_supervised(self)
        check_long_tail(self)
        check_neighborhoods(self)
        if self.method in GRADIENT_METHODS:
            check_gradient(self)
        regularized = self.regularizer != "none"
        require(
            self.method == "classical" or not regularized,
            f"regularizer: {self.regularizer} belongs to --method classical, found --method {self.method}",
        )
        require(
            regularized or self.coefficient == type(self).coefficient,
            f"coefficient: {self.coefficient} weighs a regularizer, but none was asked for; give --regularizer",
        )
        require(
            not regularized or (self.batch_pictures >= 4 and self.batch_pictures % 2 == 0),
            f"batch_pictures: expected an even number from 4 on, two pictures of each class; found {self.batch_pictures}",
        )
        for name in ("support_pool", "query_pool", "task_pool"):
            require(
                self.method != "classical" or getattr(self, name) is None,
                f"{name}: restricts few-shot tasks, and --method classical trains on pictures of all classes at once",
            )
        require(
            not self.support_noise or self.support_pool is not None,
            "support_noise: give --support_pool too, the number of noise pictures of each class",
        )

    @property
    def norm_mode(self) -> BatchNorm:
        """The batch-norm mode: the asked-for one, else `support` for gradient methods and `running` for all others."""
        if self.batch_norm != "method":
            return self.batch_norm
        return "support" if self.method in GRADIENT_METHODS else "running"
