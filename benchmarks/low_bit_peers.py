"""What low-bit convolutions are compared with: 8-bit convolutions of torch (oneDNN, FBGEMM) and ONNX Runtime, and float32.

Each function gives callables that run one 3x3 layer, padding 1, batch 1, on inputs that were made before: codes uint8 of
given bits, weights int8 per channel, output requantised to uint8 behind a ReLU. Peers that are not installed are absent.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

Call = Callable[[], object]
SCALE = 0.05


def onednn(codes: np.ndarray, weights: np.ndarray) -> Call:
    """torch.ops.onednn.qconv_pointwise, what torch's graph mode quantisation runs."""
    ops = torch.ops.onednn
    x = torch.from_numpy(codes).permute(0, 3, 1, 2)  # channels last, as all of them like it
    outs = len(weights)
    scales, zeros = torch.full((outs,), SCALE), torch.zeros(outs, dtype=torch.int64)
    w = torch.from_numpy(np.ascontiguousarray(weights.transpose(0, 3, 1, 2)))
    packed = ops.qconv_prepack(w, scales, SCALE, 0, [1, 1], [1, 1], [1, 1], 1, list(x.shape))
    bias = torch.zeros(outs)
    form = ([1, 1], [1, 1], [1, 1], 1, 0.1, 0, torch.uint8, "relu", [], "")
    return lambda: ops.qconv_pointwise(x, SCALE, 0, packed, scales, zeros, bias, *form)


def eager(engine: str, codes: np.ndarray, weights: np.ndarray) -> Call:
    """torch.ops.quantized.conv2d_relu with one of torch's engines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = torch._make_per_tensor_quantized_tensor(torch.from_numpy(codes).permute(0, 3, 1, 2), SCALE, 0)
        w = torch.from_numpy(np.ascontiguousarray(weights.transpose(0, 3, 1, 2)))
        scales, zeros = torch.full((len(w),), SCALE, dtype=torch.float64), torch.zeros(len(w), dtype=torch.int64)
        filters = torch._make_per_channel_quantized_tensor(w, scales, zeros, 0)
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        packed = torch.ops.quantized.conv2d_prepack(filters, torch.zeros(len(w)), [1, 1], [1, 1], [1, 1], 1)
    finally:
        torch.backends.quantized.engine = before

    def run() -> object:
        torch.backends.quantized.engine = engine
        return torch.ops.quantized.conv2d_relu(x, packed, 0.1, 0)

    return run


def onnxruntime(codes: np.ndarray, weights: np.ndarray, threads: int = 1) -> Call:
    """QLinearConv; the model's input is in ONNX's order, channels first, which its kernels take as they like."""
    import onnx
    import onnxruntime as runtime
    from onnx import TensorProto, helper, numpy_helper

    x = np.ascontiguousarray(codes.transpose(0, 3, 1, 2))
    outs, kernel = len(weights), weights.shape[1]
    constants: dict[str, np.ndarray] = {
        "xs": np.float32(SCALE),
        "xz": np.uint8(0),
        "w": np.ascontiguousarray(weights.transpose(0, 3, 1, 2)),
        "ws": np.full(outs, SCALE, np.float32),
        "wz": np.zeros(outs, np.int8),
        "ys": np.float32(0.1),
        "yz": np.uint8(0),
    }
    node = helper.make_node("QLinearConv", ["x", *constants], ["y"], pads=[1, 1, 1, 1], kernel_shape=[kernel, kernel])
    shapes = [list(x.shape), [x.shape[0], outs, *x.shape[2:]]]
    value = [helper.make_tensor_value_info(n, TensorProto.UINT8, s) for n, s in zip(("x", "y"), shapes, strict=True)]
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph([node], "layer", value[:1], value[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def floats(codes: np.ndarray, weights: np.ndarray) -> Call:
    """torch's float32 convolution, channels last, weights as oneDNN orders them for itself."""
    x = torch.from_numpy(codes).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
    w = torch.from_numpy(weights).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
    bias = torch.zeros(len(w))
    return lambda: F.relu_(F.conv2d(x, w, bias, padding=1))


def peers(codes: np.ndarray, weights: np.ndarray) -> dict[str, Call]:
    """All that are here, by name; those named int8-* are the 8-bit ones. Missing ones are said once."""
    found: dict[str, Call] = {}
    makers: dict[str, Callable[[], Call]] = {
        "int8-onednn": lambda: onednn(codes, weights),
        "int8-fbgemm": lambda: eager("fbgemm", codes, weights),
        "int8-onnxruntime": lambda: onnxruntime(codes, weights),
        "fp32": lambda: floats(codes, weights),
    }
    for name, make in makers.items():
        try:
            call = make()
            call()
        except (ImportError, RuntimeError, AttributeError, NotImplementedError) as error:
            absent.setdefault(name, f"{type(error).__name__}: {str(error).splitlines()[0][:100]}")
            continue
        found[name] = call
    return found


absent: dict[str, str] = {}
"""Peers that cannot run here, and why."""
