"""A whole training step against the released MetaOptNet: the same networks, heads, pictures and number of tasks.

    git clone https://github.com/kjunelee/MetaOptNet             # and qpth, as in svm_solver.py
    python benchmarks/released_step.py --metaoptnet MetaOptNet --json released.json

Ours: a step of `modicum train` (sampling, cutting from uint8 pictures, forward, loss, backward, SGD with Nesterov momentum).
The peer: the step of the released train.py on its embedding, head and optimiser, float pictures cut beforehand, so its
sampling is not counted. Networks: `conv4-r2d2-lee` beside R2D2Embedding and `conv4-64` beside ProtoNetEmbedding, which have
the same layers (dropout too); all admit 28x28. Heads: R2-D2 and SVM. The released code is not changed: `Tensor.cuda` returns
the tensor, the module `cvxpy` (which qpth imports and does not use here) is empty, and `torch.gesv`, gone from torch, is
`linalg.solve`. Both sides take turns in one process, one process a row; medians [quartiles]; the ratio is the median of the
pairwise ratios. A peer that is not given, fails or takes longer than the limit is `-`.
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

WAYS, SHOTS = 5, 5
CHANNELS = {84: 3, 32: 3, 28: 1}
NETWORKS = {"conv4-r2d2-lee": "R2D2Embedding", "conv4-64": "ProtoNetEmbedding"}
HEADS = {"r2d2": "R2D2", "metaoptnet-svm": "SVM-CS", "protonet": "ProtoNet"}
Step = Callable[[], Any]


def our_trainer(size: int, backbone: str, method: str, tasks: int, queries: int) -> Any:
    """`modicum train` on noise."""
    import numpy as np

    from modicum.configs import Train
    from modicum.data.pictures import PictureSet
    from modicum.training.trainer import Trainer

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 30)
    pixels = rng.integers(0, 256, (len(labels), size, size, CHANNELS[size]), dtype=np.uint8)
    names = tuple(str(i) for i in range(20))
    pictures = PictureSet(pixels, labels, names, tuple(map(str, range(len(labels)))), splits={"train": names}, name="noise")
    options: dict[str, Any] = {"backbone": backbone, "method": method, "ways": WAYS, "shots": SHOTS, "queries": queries}
    options |= {"batch": tasks, "optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 5e-4}
    return Trainer(Train(data="noise", out="unused", **options), pictures)


def released_step(folder: str, size: int, backbone: str, method: str, tasks: int, queries: int) -> Step:
    """A step of the released train.py on float pictures of the same shape."""
    import torch
    import torch.nn.functional as F

    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    torch.gesv = lambda b, a: (torch.linalg.solve(a, b), None)
    sys.modules.setdefault("cvxpy", types.ModuleType("cvxpy"))
    sys.path.insert(0, folder)
    from models.classification_heads import ClassificationHead, one_hot  # type: ignore[import-not-found]
    from models.protonet_embedding import ProtoNetEmbedding  # type: ignore[import-not-found]
    from models.R2D2_embedding import R2D2Embedding  # type: ignore[import-not-found]

    embeddings = {"R2D2Embedding": R2D2Embedding, "ProtoNetEmbedding": ProtoNetEmbedding}
    network = embeddings[NETWORKS[backbone]](x_dim=CHANNELS[size]).train()
    head = ClassificationHead(base_learner=HEADS[method]).train()
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    support, query = (torch.rand(tasks, WAYS * n, CHANNELS[size], size, size) for n in (SHOTS, queries))
    support_y, query_y = (torch.arange(WAYS).repeat_interleave(n).repeat(tasks, 1) for n in (SHOTS, queries))

    def step() -> float:
        z_support = network(support.flatten(0, 1)).reshape(tasks, WAYS * SHOTS, -1)
        z_query = network(query.flatten(0, 1)).reshape(tasks, WAYS * queries, -1)
        logits = head(z_query, z_support, support_y, WAYS, SHOTS).reshape(-1, WAYS)
        loss = -(one_hot(query_y.reshape(-1), WAYS) * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def measure(options: argparse.Namespace, size: int, backbone: str, method: str) -> dict[str, Any]:
    """Both sides in turn in this process."""
    import torch

    torch.set_num_threads(options.threads)
    shape = (size, backbone, method, options.tasks, options.queries)
    steps: dict[str, Step] = {"modicum": our_trainer(*shape).advance}
    if options.metaoptnet:
        steps["released"] = released_step(options.metaoptnet, *shape)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(options.repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat:
                times[name].append(time.perf_counter() - start)
    row: dict[str, Any] = {name: quartiles(values) for name, values in times.items()}
    if "released" in times:
        row["ratio"] = quartiles([peer / ours for peer, ours in zip(times["released"], times["modicum"], strict=True)])
    return row


def main() -> None:
    """Run every size, network and head and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metaoptnet", help="folder of the released code; without it the peer is -")
    parser.add_argument("--sizes", type=int, nargs="+", default=[84, 28], choices=list(CHANNELS))
    parser.add_argument("--backbones", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", default=["r2d2", "metaoptnet-svm"], choices=list(HEADS))
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--queries", type=int, default=15, help="per class")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=1200, help="seconds for one row")
    parser.add_argument("--json")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options, options.sizes[0], options.backbones[0], options.methods[0])))
        return
    rows = []
    print("| size | network | head | modicum ms | released ms | times as fast |\n" + "|---" * 6 + "|")
    numbers = [f"--{name}={getattr(options, name)}" for name in ("tasks", "queries", "repeats")]
    numbers += ["--threads", str(options.threads)]
    peer = ["--metaoptnet", options.metaoptnet] if options.metaoptnet else []
    for size, backbone, method in ((s, b, m) for s in options.sizes for b in options.backbones for m in options.methods):
        call = ["--child", "--sizes", str(size), "--backbones", backbone, "--methods", method, *numbers]
        row = (
            (child(__file__, [*call, *peer], options.limit) if peer else None) or child(__file__, call, options.limit) or {}
        )
        rows.append({"size": size, "backbone": backbone, "method": method, "tasks": options.tasks, **row})
        cells = [str(size), backbone, method, shown(row.get("modicum")), shown(row.get("released"))]
        print("| " + " | ".join([*cells, shown(row.get("ratio"), 1)]) + " |", flush=True)
    if options.json:
        write_rows(options.json, rows)


if __name__ == "__main__":
    main()
