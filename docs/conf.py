"""Sphinx: Markdown pages (MyST), API pages from docstrings, examples executed by the doctest builder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import modicum

project = "Modicum"
author = "Modicum contributors"
copyright = "Modicum contributors; Apache-2.0"
version = release = modicum.__version__
language = "en"
smartquotes = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Modicum {release}"
html_show_sphinx = False

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "training"}
suppress_warnings = ["ref.python"]  # a name exported at the top is documented once, where it is defined

doctest_global_setup = """
import os, tempfile
os.environ["MODICUM_CACHE"] = os.path.join(tempfile.gettempdir(), f"modicum-docs-{os.getpid()}")
import numpy as np
import torch
from modicum import FewShotClassifier
torch.manual_seed(0)
"""
doctest_global_cleanup = """
import shutil
shutil.rmtree(os.environ["MODICUM_CACHE"], ignore_errors=True)
"""

PACKAGE = Path(modicum.__file__).parent
CODE = re.compile(r"(`+[^`]+`+)")
SPECIAL = re.compile(r"([*|\\]|(?<=\w)_(?=\W|$))")


def plain(line: str) -> str:
    """A line of a docstring as reStructuredText: `code` becomes ``code``, everything else is text."""
    if line.startswith((">>> ", "... ")):
        return line
    parts = CODE.split(line)
    return "".join(f"``{part.strip('`')}``" if i % 2 else SPECIAL.sub(r"\\\1", part) for i, part in enumerate(parts))


def docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings are plain text: indented or `|`-ruled blocks are shown as they stand, paragraphs flow."""
    out: list[str] = []
    verbatim = False
    for line in lines:
        raw = line.startswith(("    ", "| ", "|-")) or (verbatim and not line.strip())
        if raw and not verbatim:
            out += ["", "::", ""]
        if verbatim and not raw and line.strip():
            out.append("")
        verbatim = raw
        out.append(f"    {line}" if raw else plain(line))
    lines[:] = out


def modules(app: Any, name: str, source: list[str]) -> None:
    """Puts the documentation of all modules of packages where a page says `<!-- modules: PACKAGE ... -->`."""

    def expand(match: re.Match[str]) -> str:
        found = []
        for part in match[1].split():
            paths = sorted((PACKAGE / part).rglob("*.py")) if (PACKAGE / part).is_dir() else [PACKAGE / f"{part}.py"]
            names = [path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".") for path in paths]
            found += [f"modicum.{name}" for name in names if not name.endswith("__init__")]
        return "\n".join(f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in found)

    source[0] = re.sub(r"<!-- modules: (.*?) -->", expand, source[0])


def setup(app: Any) -> None:
    """Registers the reading of docstrings and the lists of modules."""
    app.connect("autodoc-process-docstring", docstring)
    app.connect("source-read", modules)
