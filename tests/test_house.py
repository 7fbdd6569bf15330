"""Rules of the house that can be counted: documentation, layers, names, sizes, lazy import, versions."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modicum

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "modicum"
MODULES = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}
Function = ast.FunctionDef | ast.AsyncFunctionDef
HEAVY = ("torch", "numpy", "torchvision", "timm", "sklearn", "matplotlib", "PIL", "jsonargparse", "rich")


def is_property_setter(node: Function) -> bool:
    return any(isinstance(d, ast.Attribute) and d.attr in ("setter", "deleter") for d in node.decorator_list)


def documented_methods() -> dict[str, set[str]]:
    """Class name -> methods it documents itself."""
    return {
        node.name: {m.name for m in node.body if isinstance(m, Function) and ast.get_docstring(m)}
        for tree in MODULES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }


def undocumented_in(body: list[ast.stmt], inherited: set[str], known: dict[str, set[str]]) -> Iterator[tuple[int, str]]:
    for node in body:
        if not isinstance(node, (*Function.__args__, ast.ClassDef)) or node.name.startswith("_"):
            continue
        setter = isinstance(node, Function) and is_property_setter(node)
        if not ast.get_docstring(node) and node.name not in inherited and not setter:
            yield node.lineno, node.name
        if isinstance(node, ast.ClassDef):
            bases = [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]
            yield from undocumented_in(node.body, set().union(*(known.get(base, set()) for base in bases)), known)


def test_every_public_symbol_is_documented():
    """Modules, classes, functions and methods; a method may inherit the text of the interface it implements."""
    known = documented_methods()
    missing = [f"{name}: no module docstring" for name, tree in MODULES.items() if not ast.get_docstring(tree)]
    for name, tree in MODULES.items():
        missing += [f"{name}:{line} {symbol}" for line, symbol in undocumented_in(tree.body, set(), known)]
    assert missing == []


def test_every_exported_name_resolves_and_is_in_the_api_page():
    page = (ROOT / "docs" / "api.md").read_text()
    assert [name for name in modicum.__all__ if getattr(modicum, name, None) is None] == []
    assert [name for name in modicum.__all__ if name != "__version__" and f"modicum.{name}" not in page] == []


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_that_name'"):
        _ = modicum.nothing_of_that_name


def test_importing_the_package_loads_nothing_heavy():
    """`import modicum` and what the command line needs before it knows the command: no torch, no numpy."""
    code = (
        "import sys, modicum, modicum.errors, modicum.registry, modicum.configs\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_layers_are_kept():
    """The contract in pyproject.toml, checked by import-linter (also a step of its own in .ci/run)."""
    pytest.importorskip("importlinter", reason='import-linter is not installed (pip install -e ".[lint]")')
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_no_module_is_named_after_nothing():
    assert [name for name in MODULES if set(re.split(r"[/._]", name)) & {"utils", "util", "helpers", "common", "misc"}] == []


def test_sizes_of_files_and_functions():
    """At most 250 lines a file and 60 lines of code a function, the docstring not counted."""
    large = [f"{name}: {lines} lines" for name in MODULES if (lines := (SOURCE / name).read_text().count("\n")) > 250]
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                code = node.body[1:] if ast.get_docstring(node) else node.body
                if code and (length := code[-1].end_lineno - code[0].lineno + 1) > 60:
                    large.append(f"{name}:{node.lineno} {node.name}: {length} lines")
    assert large == []


def test_nothing_is_unpickled_and_no_keyword_arguments_are_passed_on():
    """No pickle, no torch.load, no joblib.load; **names only where scikit-learn's interface asks for them."""
    found = []
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                found += [f"{name}:{node.lineno} {n}" for n in names if n.split(".")[0] in ("pickle", "dill", "cloudpickle")]
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("torch.load", "torch.save", "joblib.load"):
                found.append(f"{name}:{node.lineno} {ast.unparse(node)}")
            if isinstance(node, Function) and node.args.kwarg and node.name != "set_params":
                found.append(f"{name}:{node.lineno} {node.name}(**{node.args.kwarg.arg})")
    assert found == []


def tracked_text() -> Iterator[tuple[str, str]]:
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    names = done.stdout.splitlines() or [str(path.relative_to(ROOT)) for path in SOURCE.rglob("*.py")]
    for name in names:
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue


def test_no_path_of_one_machine_and_no_unfinished_business():
    places = re.compile(r"(?:^|[\s'\"(=])/(?:" + "|".join(("work", "root", "home", "Users")) + r")/")
    notes = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
    assert [name for name, text in tracked_text() if places.search(text) or notes.search(text)] == []


def test_version_is_the_installed_one():
    try:
        installed = importlib.metadata.version("modicum")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("modicum runs from a checkout here and is not installed")
    assert installed == modicum.__version__


def test_every_registered_name_resolves():
    from modicum import registry

    for kind, table in (("head", registry.HEADS), ("backbone", registry.BACKBONES)):
        for name in table:
            assert callable(registry.resolve(kind, table, name)), name


def test_tests_that_the_status_page_cites_exist():
    """docs/status.md says which test shows a sentence: `tests/x.py::name` must be there."""
    cited = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", (ROOT / "docs" / "status.md").read_text())
    lost = [
        f"{file}::{name}"
        for file, name in cited
        if not (ROOT / file).is_file() or (name and not re.search(rf"(?:def|class) {name}\b", (ROOT / file).read_text()))
    ]
    assert cited
    assert lost == []
