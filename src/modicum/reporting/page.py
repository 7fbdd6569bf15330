"""`write_report`: one self-contained page, made from result files only and never half-written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from modicum import __version__
from modicum.errors import ConfigError
from modicum.files import write_text
from modicum.reporting.records import Source
from modicum.reporting.sources import read_source
from modicum.reporting.story import counted, percent
from modicum.reporting.views import LOWEST, compare, view


def write_report(sources: Sequence[Path | str], out: Path | str) -> Path:
    """Write one HTML page about runs and classifiers, side by side where there are several; returns `out`.

    The page needs no other file and asks no server for anything. Raises `ConfigError` without sources,
    `FileFormatError` for a folder that is no run and no classifier or holds a damaged file, `WriteError`.
    """
    if not sources:
        raise ConfigError("sources: expected at least one folder of a run or a classifier, found none")
    out = Path(out)
    write_text(out, render([read_source(source) for source in sources]))
    return out


def render(sources: Sequence[Source]) -> str:
    """The page as text."""
    names = distinct_names(sources)
    views = [view(source, index, name) for index, (source, name) in enumerate(zip(sources, names, strict=True))]
    environment = Environment(
        loader=PackageLoader("modicum.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["percent"] = percent
    environment.globals["counted"] = counted
    style, _, _ = environment.loader.get_source(environment, "style.css") if environment.loader else ("", "", None)
    return environment.get_template("page.html").render(
        title=" / ".join(names),
        views=views,
        comparison=compare(sources) if len(sources) > 1 else None,
        style=Markup(style),  # our own file; everything else is escaped
        svg=Markup,  # figures are matplotlib's, which escapes its texts
        lowest=LOWEST,
        version=__version__,
    )


def distinct_names(sources: Sequence[Source]) -> list[str]:
    """Folder names; with their parent's name where two are alike, and numbered where that is not enough."""
    names = [source.name for source in sources]
    for attempt in ("parent", "number"):
        if len(set(names)) == len(names):
            break
        alike = {name for name in names if names.count(name) > 1}
        parents = [source.path.resolve().parent.name for source in sources]
        names = [
            name if name not in alike else f"{parents[i]}/{name}" if attempt == "parent" else f"{name} ({i + 1})"
            for i, name in enumerate(names)
        ]
    return names
