"""The fuzz programs of csrc/low_bit/fuzz, built with sanitizers: random layers and steps, every kernel, exact buffers.

By hand:  python tests/quantization/test_fuzz_slow.py SEED LAYERS [COMPILER]
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from test_fuzz import SCRIPT

SOURCES = Path(__file__).parents[2] / "csrc" / "low_bit"
FLAGS = [
    "-std=c99",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
]
SANITIZERS = (
    ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
    ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"],  # where a compiler came without its library
)
SETS = {
    "avx2.c": ["-mavx2", "-mfma"],
    "int8_avx2.c": ["-mavx2", "-mfma"],
    "avx512vbmi.c": ["-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vbmi"],
}
CROSS, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"


def sanitizers(compiler: str, folder: Path) -> list[str]:
    """The first of SANITIZERS whose programs link and run here; skips the test where none do."""
    source = folder / "nothing.c"
    source.write_text("int main(void) { return 0; }\n")
    for flags in SANITIZERS:
        program = folder / "nothing"
        done = subprocess.run([compiler, *flags, str(source), "-o", str(program)], capture_output=True)
        if done.returncode == 0 and subprocess.run([program], capture_output=True).returncode == 0:
            return flags
    pytest.skip(f"{compiler} has no sanitizers here")


def build(compiler: str, folder: Path, flags: list[str], x86: bool) -> Path:
    """The program, with the kernels of this processor, and with AVX-512 VBMI once more as arrays of bytes."""
    jobs = [(source, SETS.get(source.name, []) if x86 else []) for source in sorted(SOURCES.glob("*.c"))]
    jobs = [job for job in jobs if job[0].name != "dispatch.c" and (x86 or "avx2" not in job[0].name)]
    jobs += [(SOURCES / "avx512vbmi.c", ["-DLOW_BIT_EMULATE"]), (SOURCES / "fuzz" / "fuzz.c", ["-DLOW_BIT_EMULATE"])]
    if "clang" in compiler:  # minutes otherwise; gcc checks what is unrolled
        flags = [*flags, "-DLOW_BIT_ROLLED"]
    objects = []
    for number, (source, own) in enumerate(jobs):
        objects.append(str(folder / f"{number}.o"))
        command = [compiler, *FLAGS, *flags, *own, "-c", str(source), "-o", objects[-1]]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    program = folder / "fuzz"
    done = subprocess.run([compiler, *flags, *objects, "-lm", "-o", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def build_steps(compiler: str, folder: Path) -> Path:
    """The program for what stands between layers."""
    program = folder / "steps"
    sources = [str(SOURCES / "pointwise.c"), str(SOURCES / "fuzz" / "steps.c")]
    command = [compiler, *FLAGS, *sanitizers(compiler, folder), *sources, "-lm", "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def fuzz(command: list[str], seed: int, layers: int) -> dict[str, int]:
    """Kernel -> layers it was run on. The program's own words where it fails."""
    done = subprocess.run([*command, str(seed), str(layers)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, _, *counts = done.stdout.strip().split(", ")
    return {name: int(count) for name, count in (part.rsplit(" ", 1) for part in counts)}


def here(compiler: str, folder: Path, seed: int, layers: int) -> dict[str, int]:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip(f"built for x86-64 alone, this is {platform.machine()}")
    found = shutil.which(compiler)
    if found is None:
        pytest.skip(f"no {compiler} here")
    return fuzz([str(build(found, folder, sanitizers(found, folder), x86=True))], seed, layers)


def check_all_were_run(counts: dict[str, int], layers: int, *names: str) -> None:
    for name in (*names, "swar-buffer", "swar-table", "swar-carry", "swar-carry-32", "avx512vbmi-emulated"):
        assert counts[name] > layers / 10, counts


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "seed", "layers"), [("gcc", 1, 10_000), ("clang-14", 2, 3_000)])
def test_ten_thousand_layers_under_sanitizers(tmp_path: Path, compiler: str, seed: int, layers: int) -> None:
    check_all_were_run(here(compiler, tmp_path, seed, layers), layers)


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "seed"), [("gcc", 1), ("clang-14", 2)])
def test_steps_between_layers_under_sanitizers(tmp_path: Path, compiler: str, seed: int) -> None:
    found = shutil.which(compiler)
    if found is None:
        pytest.skip(f"no {compiler} here")
    counts = fuzz([str(build_steps(found, tmp_path))], seed, 50_000)
    assert min(counts["pass"], counts["pool"]) > 20_000


@pytest.mark.slow
def test_layers_on_64_bit_arm(tmp_path: Path) -> None:
    """Cross-compiled and run by an emulator of the processor, without sanitizers."""
    compiler, emulator = shutil.which(CROSS), shutil.which(EMULATOR)
    if compiler is None or emulator is None:
        pytest.skip(f"{CROSS} and {EMULATOR} are needed")
    program = build(compiler, tmp_path, ["-static"], x86=False)
    check_all_were_run(fuzz([emulator, str(program)], 3, 2_000), 2_000, "neon")


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang-14"])
def test_the_library_builds_without_warnings_and_gives_what_numpy_gives(tmp_path: Path, compiler: str) -> None:
    """As pip builds it, and in a copy of the package."""
    found, cmake = shutil.which(compiler), shutil.which("cmake")
    if found is None or cmake is None:
        pytest.skip(f"{compiler} and cmake are needed")
    root = SOURCES.parents[1]
    built = tmp_path / "build"
    configure = [cmake, "-S", str(root), "-B", str(built), "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_C_COMPILER={found}"]
    for command in (configure, [cmake, "--build", str(built)]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "warning:" not in done.stderr
    shutil.copytree(
        root / "src" / "modicum", tmp_path / "modicum", ignore=shutil.ignore_patterns("_kernels*", "__pycache__")
    )
    (library,) = built.glob("_kernels.*")
    shutil.copy(library, tmp_path / "modicum")
    results = set()
    for kernel in ("", "swar-table", "portable", "numpy"):
        printed = in_a_copy(tmp_path, SCRIPT, MODICUM_KERNELS=kernel).split()
        assert printed[0] == (kernel or printed[0])
        results.add(printed[-1])
    assert len(results) == 1
    tests = [str(root / "tests" / name) for name in WITH_KERNELS]
    in_a_copy(tmp_path, f"import pytest\nsys.exit(pytest.main(['-q', '-n0', '-p', 'no:cacheprovider', *{tests!r}]))")


WITH_KERNELS = (
    "test_similarity.py",
    "memory/test_exact.py",
    "backbones/test_batch_norm_pool.py",
    "quantization/test_kernels.py",
    "quantization/integer/test_pointwise.py",
)
"""All that calls the library, against other ways to the same results."""


def in_a_copy(folder: Path, script: str, **environment: str) -> str:
    """What a script prints in a process that imports the package in a folder, with its kernels, and no installed one."""
    first = f"""
import sys
sys.meta_path = [each for each in sys.meta_path if "Redirecting" not in type(each).__name__]  # of an editable installation
sys.path.insert(0, {str(folder)!r})
import modicum
from modicum.similarity import kernel_available
assert list(modicum.__path__) == [{str(folder / "modicum")!r}], modicum.__path__
assert kernel_available()
"""
    surroundings = os.environ | environment
    done = subprocess.run([sys.executable, "-c", first + script], env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.soak
def test_a_million_layers_under_sanitizers(tmp_path: Path) -> None:
    check_all_were_run(here("gcc", tmp_path, 4, 1_000_000), 1_000_000)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(here((sys.argv[3:] or ["gcc"])[0], Path(name), int(sys.argv[1]), int(sys.argv[2])))
