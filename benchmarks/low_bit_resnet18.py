"""A whole ResNet-18 at 224x224, batch 1, one thread: integer networks of ours, torch's int8 (oneDNN) and float32.

    python benchmarks/low_bit_resnet18.py --json resnet18.json

All are one architecture with random weights, which decide accuracy but not time; steps of ours are calibrated (5 % of sums
overflow), as before a training. Stem and last layer of ours are quantised too (8-bit weights and
inputs, exact sums; the last layer, 512 to 1,000, is part of every side). int8: torch's eager quantisation of torchvision's
ResNet-18, calibrated on random pictures, by each engine that torch offers here.

Sides take turns in one process. ms: median of the thread's CPU time (what one thread costs whatever else the machine
does; wall time beside it), with quartiles; ratio: median over rounds of int8's time by ours. Peak memory: how far that of a
process rises that loads the saved network and runs it. File: what each side is saved as.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.configs.low_bit import LowBit
from modicum.quantization.calibration import calibrate
from modicum.quantization.conversion import convert
from modicum.quantization.integer.network import IntegerNetwork
from modicum.quantization.layers import CODES, low_bit_layers, set_stage

SHAPE, CLASSES, SEED = (3, 224, 224), 1000, 0
FORMS = {"binary": LowBit(ends="8"), "ternary": LowBit("ternary", ends="8")}
Side = Callable[[Tensor], Tensor]


class Whole(nn.Module):
    """Backbone and last layer."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.last = backbone, nn.Linear(512, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.backbone(x))


def float_network() -> nn.Module:
    torch.manual_seed(SEED)
    return Whole(build_encoder("resnet18", ImageSpec(SHAPE[1], SHAPE[0])).backbone).eval()


def integer_network(weights: str) -> IntegerNetwork:
    module = float_network()
    convert(module, FORMS[weights], torch.zeros(1, *SHAPE))
    last = low_bit_layers(module)["last"]
    last.arithmetic = last.arithmetic._replace(weights="8", bits=None)
    calibrate(module.eval(), [torch.rand(2, *SHAPE)], FORMS[weights])
    set_stage(module, CODES)
    return IntegerNetwork.from_module(module, SHAPE)


def int8_network(engine: str) -> nn.Module:
    import torchvision

    torch.backends.quantized.engine = engine
    torch.manual_seed(SEED)
    made = torchvision.models.quantization.resnet18(weights=None, quantize=False).eval()
    made.fuse_model(is_qat=False)
    made.qconfig = torch.ao.quantization.get_default_qconfig(engine)
    torch.ao.quantization.prepare(made, inplace=True)
    with torch.no_grad():
        made(torch.randn(2, *SHAPE))
    return torch.ao.quantization.convert(made, inplace=True)


def sides() -> dict[str, Callable[[], nn.Module]]:
    engines = [name for name in ("onednn", "x86") if name in torch.backends.quantized.supported_engines]
    found: dict[str, Callable[[], nn.Module]] = {"float32": float_network}
    found |= {f"int8-{name}": (lambda name=name: int8_network(name)) for name in engines}
    return found | {name: (lambda name=name: integer_network(name)) for name in FORMS}


def file_bytes(network: nn.Module) -> int:
    if isinstance(network, IntegerNetwork):
        with tempfile.TemporaryDirectory() as folder:
            return network.save(Path(folder) / "network").stat().st_size
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, torch.rand(1, *SHAPE), check_trace=False), buffer)
    return len(buffer.getvalue())


def peak_mib(name: str) -> float:
    """Of a fresh process that loads torch, then makes and runs one side from what is saved."""
    done = subprocess.run([sys.executable, __file__, "--peak", name], capture_output=True, text=True, check=True, env=None)
    return float(done.stdout.split()[-1])


def measure_peak(name: str) -> None:
    """Save the side, and run it in a process that has only loaded it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network"
        network = sides()[name]()
        if isinstance(network, IntegerNetwork):
            network.save(path)
        else:
            torch.jit.save(torch.jit.trace(network, torch.rand(1, *SHAPE), check_trace=False), path)
        done = subprocess.run(
            [sys.executable, __file__, "--run", name, str(path)], capture_output=True, text=True, check=True
        )
        print(done.stdout.split()[-1])


def run_saved(name: str, path: str) -> None:
    """Print how far the peak of this process rises by loading a saved side and running it, in MiB."""
    torch.set_num_threads(1)
    if name.startswith("int8-"):
        torch.backends.quantized.engine = name.removeprefix("int8-")
    x = torch.rand(1, *SHAPE)
    before = resident("VmRSS")
    network = IntegerNetwork.load(path) if name in FORMS else torch.jit.load(path)
    with torch.inference_mode():
        for _ in range(3):
            network(x)
    print(resident("VmHWM") - before)


def resident(name: str) -> float:
    """Memory of this process in MiB, as Linux counts it: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def quartiles(values: list[float]) -> list[float]:
    return [round(q, 3) for q in statistics.quantiles(values, n=4)]


def timed(networks: dict[str, nn.Module], rounds: int) -> dict[str, dict[str, list[float]]]:
    x = torch.rand(1, *SHAPE).contiguous(memory_format=torch.channels_last)
    times: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in networks}
    with torch.inference_mode():
        for index in range(rounds + 2):
            for name, network in networks.items():
                if name.startswith("int8-"):
                    torch.backends.quantized.engine = name.removeprefix("int8-")
                wall, cpu = time.perf_counter(), time.thread_time()
                network(x)
                if index >= 2:
                    times[name]["cpu"].append((time.thread_time() - cpu) * 1e3)
                    times[name]["wall"].append((time.perf_counter() - wall) * 1e3)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json")
    parser.add_argument("--no-memory", action="store_true", help="leave out the processes that measure peak memory")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if asked.run:
        return run_saved(*asked.run)
    if asked.peak:
        return measure_peak(asked.peak)
    networks = {name: make() for name, make in sides().items()}
    times = timed(networks, asked.rounds)
    peers = [name for name in networks if name.startswith("int8-")]
    fastest = min(peers, key=lambda name: statistics.median(times[name]["cpu"])) if peers else None
    rows = []
    for name, network in networks.items():
        cpu = times[name]["cpu"]
        row: dict[str, Any] = {
            "network": name,
            "ms": quartiles(cpu),
            "wall_ms": quartiles(times[name]["wall"]),
            "file_bytes": file_bytes(network),
            "peak_mib": None if asked.no_memory else round(peak_mib(name), 1),
        }
        if fastest:
            row["ratio_vs_int8"] = quartiles([a / b for a, b in zip(times[fastest]["cpu"], cpu, strict=True)])
        if isinstance(network, IntegerNetwork):
            row["kernels"] = sorted({layer.kernel for layer in network.report()})
        rows.append(row)
        print(
            f"{name:12} {row['ms'][1]:8.2f} ms ({row['ms'][0]:.2f} to {row['ms'][2]:.2f}), wall {row['wall_ms'][1]:.2f}; "
            f"int8 / this {row.get('ratio_vs_int8', [0, 0, 0])[1]:.2f}; file {row['file_bytes'] / 2**20:.1f} MiB; "
            f"peak {row['peak_mib']} MiB {row.get('kernels', '')}"
        )
    if asked.json:
        Path(asked.json).write_text(json.dumps({"schema": 1, "int8": fastest, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
