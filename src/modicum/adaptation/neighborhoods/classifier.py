"""Meta-Neighborhoods for classification: features, a dictionary, and an output layer adapted to each query by it.

Siyuan Shan, Yang Li, Junier Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140. Features z = encoder(x); the
dictionary's loss of z moves the output layer `steps` times, and its logits of z are the prediction:

    phi' = phi - |a| (.) grad_phi sum_j w_j(z) CE(f_phi(k_j), v_j)

| symbol | variable | shape |
|---|---|---|
| mu_theta | encoder | (B, C, H, W) -> (B, D) |
| f_phi | layer | (B, D) -> (B, C) |
| k_j, v_j, w_j | dictionary | (S, D), (S, C), (B, S) |
| a | rate | () or (D,), one per feature ("diagonal") |

Readings. tau is learned, but not moved by the steps. w is computed once for all steps. A dot layer's bias moves too; with
one rate per feature it has a rate of its own, `bias_rate` (the authors' code multiplies the bias's gradient by the (D, D)
matrix of rates, which fails, so it can not have been run). Dropped entries weigh nothing, and w sums to 1 over the others.

Forms. "closed", which "auto" is: one step in closed form (`dot`, `cosine`), more by recurrence (`steps`), queries in chunks
that stay below memory_bytes and are computed again for derivatives. "explicit": a layer per query moved by automatic
gradients. All are exact: in float64 logits and derivatives agree to rounding. In evaluation mode with gradients off, what
depends on no query is kept until a parameter changes (tensor versions, and any call of `train` or `eval`); a change through
`.data`, which torch does not count, is seen after such a call only. There a cosine layer's logits leave out what float32
can not show (`inference`), and `predict` computes little more than an argmax needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modicum.adaptation.neighborhoods.cosine import moments
from modicum.adaptation.neighborhoods.forms import Problem, after_steps, attended, make_problem
from modicum.adaptation.neighborhoods.inference import argmax
from modicum.adaptation.neighborhoods.layers import OutputLayer
from modicum.adaptation.neighborhoods.room import check_steps, numbers_of_query
from modicum.backbones.encoder import Encoder
from modicum.episodes.interfaces import AbstractClassifier
from modicum.errors import ConfigError
from modicum.memory.dictionary import LearnedDictionary

Rates = Literal["scalar", "diagonal"]
Form = Literal["auto", "closed", "explicit"]
MEMORY = 1 << 30


@final
class MetaNeighborhoods(AbstractClassifier):
    """Pictures (B, C, H, W) -> logits (B, C). dictionary None: the vanilla network, nothing is adapted.

    steps: inner steps. rates: one rate, or one per feature, from initial_rate. form: see above. memory_bytes: what the steps
    of the queries that are computed at once may need, beside what all share (`room`). `ConfigError`: steps below 1, shapes
    that do not fit, more steps than memory allows for a single query.
    """

    rate: Tensor | None
    bias_rate: Tensor | None

    def __init__(
        self,
        encoder: Encoder,
        layer: OutputLayer,
        dictionary: LearnedDictionary | None,
        *,
        steps: int = 1,
        rates: Rates = "scalar",
        initial_rate: float = 0.05,
        form: Form = "auto",
        memory_bytes: int = MEMORY,
    ) -> None:
        super().__init__()
        for name, value, known in (("rates", rates, get_args(Rates)), ("form", form, get_args(Form))):
            if value not in known:
                raise ConfigError(f"{name}: expected {', '.join(known)}; found {value!r}")
        _check_shapes(encoder, layer, dictionary)
        self.encoder, self.layer, self.dictionary = encoder, layer, dictionary
        self.rates, self.form, self.memory_bytes = rates, form, memory_bytes
        self.rate = self.bias_rate = None
        self._fit: set[tuple[int, torch.device]] = set()
        self._kept: tuple[tuple[tuple[Tensor, int, int], ...], Problem] | None = None
        if dictionary is not None:
            shape = () if rates == "scalar" else (layer.weight.shape[0],)
            self.rate = nn.Parameter(torch.full(shape, float(initial_rate)))
            if rates == "diagonal" and layer.bias is not None:
                self.bias_rate = nn.Parameter(torch.tensor(float(initial_rate)))
        if steps < 1:
            raise ConfigError(f"steps: expected at least 1, found {steps}")
        self.steps = self._checked(steps)

    def features(self, x: Tensor) -> Tensor:
        """Features z (B, D) of pictures (B, C, H, W)."""
        z: Tensor = self.encoder(x)
        return z

    def attention(self, z: Tensor, keep: Tensor | None = None) -> Tensor:
        """Attention (B, S) of features (B, D) over the entries; keep: see `LearnedDictionary.attend`."""
        if self.dictionary is None:
            raise ConfigError("attention: a vanilla network has no dictionary")
        return self.dictionary.attend(z, keep)

    def trajectory(self, z: Tensor, keep: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Logits (steps + 1, B, C) of features (B, D) before and after each step (steps: self.steps).

        keep: which entries count, as `drop_entries` gives them. The vanilla network: (1, B, C).
        """
        if self.dictionary is None or steps == 0:
            before: Tensor = self.layer(z)
            return before[None]
        return self._after(z, keep, self._checked(self.steps if steps is None else steps), every=True)

    def logits(self, z: Tensor, keep: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Logits (B, C) of features (B, D) after the steps; steps=0: before adaptation. keep: as `trajectory`."""
        if self.dictionary is None or steps == 0:
            before: Tensor = self.layer(z)
            return before
        return self._after(z, keep, self._checked(self.steps if steps is None else steps), every=False)[0]

    @torch.no_grad()
    def predict(self, z: Tensor) -> Tensor:
        """The class (B,) of features (B, D) with the largest of `logits`, the first of equal ones.

        After one step of a cosine layer this costs less than the logits: bounds settle most of it.
        """
        if self.dictionary is None or self.layer.tau is None or self.steps > 1 or self.form == "explicit":
            return self.logits(z).argmax(-1)
        problem, out = self._problem(None), []
        _check_queries(z, None, problem)
        assert problem.cosine is not None
        for part in torch.split(z, self._queries_at_once(len(problem.keys), self.steps)):
            q = attended(problem, part, None)
            found = moments(problem.cosine, q.unit_z, problem.unit_keys, q.cosines, q.w)

            def complete(queries: Any = q) -> Tensor:
                return after_steps(problem, queries, 1, every=False, explicit=False)[0]

            out.append(argmax(problem.cosine, found, problem.unit_keys, q.w, complete))
        return torch.cat(out)

    def forward(self, x: Tensor, id: Tensor | None = None) -> Tensor:
        """Logits (B, C) of pictures (B, C, H, W), adapted by all entries; id is not read."""
        return self.logits(self.features(x))

    def train(self, mode: bool = True) -> MetaNeighborhoods:
        """Training or evaluation mode; either way nothing that was computed before is used again."""
        self._kept = None
        super().train(mode)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def _after(self, z: Tensor, keep: Tensor | None, steps: int, *, every: bool) -> Tensor:
        """Logits (n, B, C): n = steps + 1 with `every`, else 1, in chunks of queries."""
        mask = keep if keep is not None and keep.dtype == torch.bool else None
        problem = self._problem(keep if mask is None else None)
        _check_queries(z, mask, problem)

        def run(part: Tensor, kept: Tensor | None) -> Tensor:
            found = attended(problem, part, kept)
            return torch.stack(after_steps(problem, found, steps, every=every, explicit=self.form == "explicit"))

        at_once = self._queries_at_once(len(problem.keys), steps)
        meta = torch.is_grad_enabled()
        if len(z) <= at_once or (meta and self.form == "explicit"):
            return run(z, mask)
        again: Callable[..., Any] = checkpoint if meta else (lambda call, *args, use_reentrant: call(*args))
        masks = [None] * len(z) if mask is None else torch.split(mask, at_once)
        parts = zip(torch.split(z, at_once), masks, strict=False)
        return torch.cat([again(run, part, kept, use_reentrant=False) for part, kept in parts], 1)

    def _queries_at_once(self, entries: int, steps: int) -> int:
        features, classes = self.layer.weight.shape
        explicit, meta = self.form == "explicit", torch.is_grad_enabled()
        numbers = numbers_of_query(steps, entries, classes, features, explicit=explicit, meta=meta)
        return max(1, self.memory_bytes // (numbers * self.layer.weight.element_size()))

    def _problem(self, index: Tensor | None) -> Problem:
        dictionary, layer = self.dictionary, self.layer
        assert dictionary is not None
        assert self.rate is not None
        if self.training or torch.is_grad_enabled() or index is not None:
            return make_problem(dictionary, layer, self.rate, self.bias_rate, index)
        own = [*dictionary.parameters(), *dictionary.buffers(), *layer.parameters(), self.rate, self.bias_rate]
        tensors = [t for t in own if t is not None]
        if any(t.is_inference() for t in tensors):  # such tensors count no changes
            return make_problem(dictionary, layer, self.rate, self.bias_rate)
        state = tuple((t, t._version, t.data_ptr()) for t in tensors)
        if self._kept is None or not _same(self._kept[0], state):
            self._kept = (state, make_problem(dictionary, layer, self.rate, self.bias_rate))
        return self._kept[1]

    def _checked(self, steps: int) -> int:
        if steps < 0:
            raise ConfigError(f"steps: expected at least 0, found {steps}")
        weight, dictionary = self.layer.weight, self.dictionary
        if dictionary is not None and (steps, weight.device) not in self._fit:
            explicit, itemsize = self.form == "explicit", weight.element_size()
            features, classes = weight.shape
            check_steps(steps, dictionary.entries, classes, features, itemsize, weight.device, explicit=explicit)
            self._fit.add((steps, weight.device))
        return steps


def _same(kept: tuple[tuple[Tensor, int, int], ...], state: tuple[tuple[Tensor, int, int], ...]) -> bool:
    pairs = zip(kept, state, strict=False)
    return len(kept) == len(state) and all(a[0] is b[0] and a[1:] == b[1:] for a, b in pairs)


def _check_queries(z: Tensor, mask: Tensor | None, problem: Problem) -> None:
    if z.dim() != 2 or z.shape[1] != problem.keys.shape[1]:
        raise ConfigError(f"z: expected features (B, {problem.keys.shape[1]}), found {tuple(z.shape)}")
    if mask is not None and mask.shape != (len(z), len(problem.keys)):
        raise ConfigError(f"keep: expected a mask {(len(z), len(problem.keys))}, found {tuple(mask.shape)}")


def _check_shapes(encoder: Encoder, layer: OutputLayer, dictionary: LearnedDictionary | None) -> None:
    n_features, n_classes = layer.weight.shape
    if encoder.n_features != n_features:
        raise ConfigError(f"layer: expected {encoder.n_features} features as the encoder gives, found {n_features}")
    if dictionary is not None:
        if dictionary.kind == "targets":
            raise ConfigError("dictionary: expected values that are classes, found targets of regression")
        found = (dictionary.keys.shape[1], dictionary.values().shape[1])
        if found != (n_features, n_classes):
            raise ConfigError(f"dictionary: expected {n_features} features and {n_classes} classes, found {found}")
