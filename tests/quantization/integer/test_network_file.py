"""Files of integer networks: small, the same again, and refused with a reason where anything is wrong."""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
import pytest
import torch
from random_networks import converted

from modicum.configs.low_bit import LowBit
from modicum.errors import ConfigError, FileFormatError
from modicum.quantization.integer.file import MAGIC, is_network_file
from modicum.quantization.integer.network import IntegerNetwork
from modicum.quantization.integer.packing import pack_weights, packed_size, unpack_weights

FRONT = struct.Struct("<8sIIQ")


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return IntegerNetwork.from_module(converted("conv4-64", 28, 1, LowBit("ternary")), (1, 28, 28), about={"name": "é"})


@pytest.fixture
def path(network, tmp_path):
    return network.save(tmp_path / "a.network")


def rewritten(path, change=None, header=None):
    """The file with its header changed and everything consistent again but for what the change says."""
    data = path.read_bytes()
    _, version, length, _ = FRONT.unpack_from(data)
    record = json.loads(data[FRONT.size : FRONT.size + length])
    body = data[-(-(FRONT.size + length) // 16) * 16 : -32]
    if change is not None:
        change(record)
    text = header if header is not None else json.dumps(record).encode()
    text = text.ljust(-(-(FRONT.size + len(text)) // 16) * 16 - FRONT.size)
    whole = FRONT.pack(MAGIC, version, len(text), FRONT.size + len(text) + len(body) + 32) + text + body
    path.write_bytes(whole + hashlib.sha256(whole).digest())
    return path


def test_saved_and_loaded_it_is_the_same(network, path):
    again = IntegerNetwork.load(path)
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(again(x), network(x))
    assert all(torch.equal(m, network.integers(x)[name]) for name, m in again.integers(x).items())
    assert again.report() == network.report()
    assert again.about["name"] == "é"
    assert again.save(path.with_name("b")).read_bytes() == path.read_bytes()
    assert is_network_file(path)


def test_weights_take_the_bits_they_have(network, path):
    """Three layers of 64 x 64 x 9 ternary weights: 27,648 bytes; all else, float first layer with it, less than 10,000."""
    packed = sum(row.bytes for row in network.report())
    assert packed == 3 * 64 * 64 * 9 * 2 // 8
    assert packed < path.stat().st_size < packed + 10_000


@pytest.mark.parametrize("kind", ["binary", "ternary", "3", "4", "5", "8"])
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5, 3, 3), (7, 1)])
def test_weights_survive_packing(kind, shape):
    rng = np.random.default_rng(0)
    largest = 1 if kind in ("binary", "ternary") else 2 ** (int(kind) - 1) - 1
    weights = rng.integers(-largest, largest + 1, shape).astype(np.int8)
    weights = np.where(weights == 0, 1, weights).astype(np.int8) if kind == "binary" else weights
    data = pack_weights(weights, kind)
    assert len(data) == packed_size(shape, kind)
    assert (unpack_weights(data, shape, kind) == weights).all()


def test_bits_of_a_byte_by_hand():
    """Binary + - - + + + - - is 00111001 from the highest bit; ternary -1 0 1 1 is 10 10 01 00."""
    assert pack_weights(np.array([1, -1, -1, 1, 1, 1, -1, -1], np.int8), "binary").tolist() == [0b00111001]
    assert pack_weights(np.array([-1, 0, 1, 1], np.int8), "ternary").tolist() == [0b10100100]
    with pytest.raises(FileFormatError, match="no weight of kind 'ternary'"):
        unpack_weights(np.array([0b11], np.uint8), (1,), "ternary")
    with pytest.raises(FileFormatError, match="expected 1 bytes"):
        unpack_weights(np.zeros(2, np.uint8), (3,), "ternary")


def test_every_changed_byte_is_noticed(path):
    whole = path.read_bytes()
    for place in [*range(0, 200, 7), *range(200, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(FileFormatError):
            IntegerNetwork.load(path)


def test_a_wrong_name_of_a_kernel_is_not_the_fault_of_the_file(path, monkeypatch):
    monkeypatch.setenv("MODICUM_KERNELS", "nonsense")
    with pytest.raises(ConfigError, match=r"^MODICUM_KERNELS: unknown kernel 'nonsense'"):
        IntegerNetwork.load(path)


def test_every_cut_is_noticed(path):
    whole = path.read_bytes()
    for end in [0, 5, 23, 24, 100, 1000, len(whole) - 33, len(whole) - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(FileFormatError, match="truncated" if end >= 24 else "cut off"):
            IntegerNetwork.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(FileFormatError, match="checksum"):
        IntegerNetwork.load(path)


def test_a_newer_version_and_other_files_are_told_apart(path):
    data = path.read_bytes()
    path.write_bytes(data[:8] + struct.pack("<I", 2) + data[12:])
    with pytest.raises(FileFormatError, match=r"newer version .format 2, this one reads 1.; update"):
        IntegerNetwork.load(path)
    path.write_bytes(b"PK" + data)
    with pytest.raises(FileFormatError, match="not an integer network of modicum"):
        IntegerNetwork.load(path)
    assert not is_network_file(path)
    with pytest.raises(FileFormatError, match="cannot read"):
        IntegerNetwork.load(path.with_name("none"))


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["arrays"][0].update(shape=[2**40, 2**20]),
        lambda r: r["arrays"][0].update(shape=[-1]),
        lambda r: r["arrays"][0].update(at=2**60),
        lambda r: r["arrays"][0].update(bytes=3),
        lambda r: r["arrays"][0].update(type="object"),
        lambda r: next(a for a in r["arrays"] if "packing" in a).update(packing="6"),
        lambda r: r.update(shape=[1, 2**31, 2**31]),
        lambda r: r.update(places=10**9),
        lambda r: r.update(output=10**6),
        lambda r: r["steps"].reverse(),
        lambda r: r["steps"][0].__setitem__(0, "system"),
        lambda r: r["steps"][0].__setitem__(3, {"stride": [0, 0], "padding": [1, 1], "dilation": [1, 1], "groups": 1}),
        lambda r: r["steps"].__setitem__(0, 3),
        lambda r: next(s for s in r["steps"] if s[0] == "low-bit")[3].update(bits=99),
        lambda r: next(s for s in r["steps"] if s[0] == "low-bit")[3].update(groups=7),
        lambda r: next(s for s in r["steps"] if s[0] == "low-bit")[3].update(weights="sums"),
        lambda r: next(s for s in r["steps"] if s[0] == "code-pool")[3].update(stride=[0, 0]),
        lambda r: next(s for s in r["steps"] if s[0] == "low-bit")[3].update(bits=8.0),
        lambda r: next(s for s in r["steps"] if s[0] == "low-bit")[3].update(output="sums", cyclic="none"),  # maxima of int8
        lambda r: r["head"].update(weight=10**6),
        lambda r: r["head"].update(weight=0),
        lambda r: r["about"].update(unfolded=[]),
        lambda r: r.pop("about"),
        lambda r: r.update(kind="classifier"),
    ],
)
def test_headers_that_lie_are_refused(path, change):
    with pytest.raises(FileFormatError):
        IntegerNetwork.load(rewritten(path, change))


@pytest.mark.parametrize("padding", [2_000, 2**31, 2**62])
@pytest.mark.parametrize("op", ["convolution", "low-bit"])
def test_sizes_out_of_all_proportion_cost_no_memory(path, op, padding):
    """A header may declare paddings that would take gigabytes, and minutes, whatever the file's own size."""

    def change(record):
        next(step for step in record["steps"] if step[0] == op)[3].update(padding=[padding, padding])

    with pytest.raises(FileFormatError, match=f"'{op}' of .* numbers of one picture .*, more than 16,777,216"):
        IntegerNetwork.load(rewritten(path, change))


@pytest.mark.parametrize("shape", [[1], [3], [0]])
def test_constants_of_other_lengths_are_refused_before_c_reads_them(tmp_path, shape):
    path = IntegerNetwork.from_module(converted("resnet20-8"), (3, 32, 32)).save(tmp_path / "a.network")

    def change(record):
        step = next(step for step in record["steps"] if step[0] == "pointwise" and step[4])
        for place in step[4].values():
            record["arrays"][place].update(shape=shape, bytes=4 * shape[0])

    with pytest.raises(FileFormatError, match=r"scale: expected float32 \(8,\)"):
        IntegerNetwork.load(rewritten(path, change))


@pytest.mark.parametrize("header", [b"[" * 100_000, b"{", b"3", b"\xff"])
def test_headers_that_are_none_are_refused(path, header):
    with pytest.raises(FileFormatError):
        IntegerNetwork.load(rewritten(path, header=header))
