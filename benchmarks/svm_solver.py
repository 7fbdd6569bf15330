"""Our solver of MetaOptNet's SVM against the released one: 8 tasks, 5-way, 75 queries, forward and backward, float64.

    pip install --no-deps qpth                                   # into an environment that has torch and modicum
    git clone https://github.com/kjunelee/MetaOptNet
    python benchmarks/svm_solver.py --metaoptnet MetaOptNet --json svm.json

Ours: `MetaOptNetSVMHead` on support features, logits of the queries, cross-entropy, gradients of all features. The peer:
`MetaOptNetHead_SVM_CS(double_precision=True)` of models/classification_heads.py as released (qpth, 15 iterations at most),
the same loss. The released code is not changed; so that it imports and runs on a CPU and a new torch, this process makes
`Tensor.cuda` return the tensor, the module `cvxpy` (which qpth imports and does not use here) empty and float64 the default
(the peer mixes its one-hot labels with the features). Both sides take turns in one process, one process for each number of
shots; medians [quartiles]; the ratio is the median of the pairwise ratios. `difference` is the largest difference of query
logits where ours solves the released problem (ridge = 1). A peer that is not given, fails or takes longer than the limit
is `-`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import types
from collections.abc import Callable
from typing import Any

from side_by_side import child, quartiles, shown, write_rows

TASKS, WAYS, QUERIES, WIDTH, C = 8, 5, 15, 640, 0.1
Head = Callable[[Any, Any, Any], Any]


def problem(shots: int) -> tuple[Any, Any, Any, Any]:
    """Support and query features (8, n, 640) in float64 around class means, squared length about 64, and their labels."""
    import torch

    torch.manual_seed(0)
    means = torch.randn(TASKS, WAYS, WIDTH, dtype=torch.float64)
    labels = [torch.arange(WAYS).repeat_interleave(n).repeat(TASKS, 1) for n in (shots, QUERIES)]
    sets = [means[:, y[0]] + 2 * torch.randn(TASKS, y.shape[1], WIDTH, dtype=torch.float64) for y in labels]
    support, query = (0.14 * z for z in sets)
    return support.requires_grad_(), labels[0], query.requires_grad_(), labels[1]


def our_head(ridge: float = 0.0) -> Head:
    """(support, labels, query) -> logits."""
    from modicum.adaptation.metaoptnet import MetaOptNetSVMHead
    from modicum.episodes.types import LabelledSet

    head = MetaOptNetSVMHead(C=C, scale=1.0, ridge=ridge).double()
    return lambda support, labels, query: head.fit(LabelledSet(support, labels), WAYS)(query)


def released_head(folder: str, shots: int) -> Head:
    """The same of the released code."""
    import torch

    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    sys.modules.setdefault("cvxpy", types.ModuleType("cvxpy"))
    sys.path.insert(0, folder)
    from models.classification_heads import MetaOptNetHead_SVM_CS  # type: ignore[import-not-found]

    def run(support: Any, labels: Any, query: Any) -> Any:
        return MetaOptNetHead_SVM_CS(query, support, labels, WAYS, shots, C_reg=C, double_precision=True)

    return run


def pass_seconds(head: Head, shots: int) -> float:
    """Wall time of one forward and backward pass."""
    import torch

    support, labels, query, query_labels = problem(shots)
    start = time.perf_counter()
    logits = head(support, labels, query)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), query_labels.flatten()).backward()
    taken = time.perf_counter() - start
    if support.grad is None or not bool(torch.isfinite(support.grad).all()):
        raise RuntimeError("no finite gradient")
    return taken


def measure(shots: int, repeats: int, threads: int, folder: str | None) -> dict[str, Any]:
    """Both sides in turn in this process."""
    import torch

    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float64)
    heads = {"modicum": our_head()} | ({"released": released_head(folder, shots)} if folder else {})
    times: dict[str, list[float]] = {name: [] for name in heads}
    for repeat in range(repeats + 2):
        for name, head in heads.items():
            taken = pass_seconds(head, shots)
            if repeat >= 2:
                times[name].append(taken)
    row: dict[str, Any] = {name: quartiles(values) for name, values in times.items()}
    support, labels, query, _ = problem(shots)
    if folder:
        row["ratio"] = quartiles([peer / ours for peer, ours in zip(times["released"], times["modicum"], strict=True)])
        gap = heads["released"](support, labels, query) - our_head(1.0)(support, labels, query)
        row["difference"] = float(gap.abs().max())
    row["residual"] = float(_residual(support, labels))
    return row


def _residual(support: Any, labels: Any) -> Any:
    from modicum.adaptation.metaoptnet import MetaOptNetSVMHead
    from modicum.episodes.types import LabelledSet

    return MetaOptNetSVMHead(C=C).double().fit(LabelledSet(support, labels), WAYS).residual.max()


def main() -> None:
    """Run every number of shots and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metaoptnet", help="folder of the released code; without it the peer is -")
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 1, 15, 30])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=600, help="seconds for one number of shots")
    parser.add_argument("--json")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.repeats, options.threads, options.metaoptnet)))
        return
    rows = []
    print("| shots | modicum ms | released ms | times as fast | difference | residual |\n" + "|---" * 6 + "|")
    for shots in options.shots:
        call = ["--child", str(shots), "--repeats", str(options.repeats), "--threads", str(options.threads)]
        with_peer = (
            child(__file__, [*call, "--metaoptnet", options.metaoptnet], options.limit) if options.metaoptnet else None
        )
        row = with_peer or child(__file__, call, options.limit) or {}
        rows.append({"shots": shots, "threads": options.threads, **row})
        gap = f"{row['difference']:.1e}" if "difference" in row else "-"
        residual = f"{row['residual']:.1e}" if row else "-"
        cells = [
            str(shots),
            shown(row.get("modicum")),
            shown(row.get("released")),
            shown(row.get("ratio"), 1),
            gap,
            residual,
        ]
        print("| " + " | ".join(cells) + " |", flush=True)
    if options.json:
        write_rows(options.json, rows)


if __name__ == "__main__":
    main()
