"""`write_report`: one self-contained page, made from result files only and never half-written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError
from markupsafe import Markup

from modicum import __version__
from modicum.errors import ConfigError, FileFormatError
from modicum.files import write_text
from modicum.reporting.long_tail import compare_long_tail, is_long_tail, read_long_tail
from modicum.reporting.long_tail_edits import signed
from modicum.reporting.low_bit import read_low_bits
from modicum.reporting.models import ModelComparison, is_comparison, read_comparison
from modicum.reporting.neighborhoods import compare_neighborhoods, is_neighborhoods, read_neighborhoods
from modicum.reporting.neighborhoods_panels import breakable, likely
from modicum.reporting.records import Source
from modicum.reporting.regression import is_regression, read_regression
from modicum.reporting.sources import read_source
from modicum.reporting.story import counted, percent
from modicum.reporting.tables import is_table, read_table_run
from modicum.reporting.views import LOWEST, compare, view


def write_report(sources: Sequence[Path | str], out: Path | str) -> Path:
    """Write one HTML page about runs and classifiers, side by side where there are several; returns `out`.

    The page needs no other file and asks no server for anything. Raises `ConfigError` without sources,
    `FileFormatError` for a folder that is no run and no classifier or holds a damaged file, `WriteError`.
    The folder of a comparison, runs on regression tasks or on the rows of a table, runs of rac (trained on all classes
    under a long tail) and of meta-neighborhoods on pictures make pages of their own: `ConfigError` beside other sources.
    """
    if not sources:
        raise ConfigError("sources: expected at least one folder of a run or a classifier, found none")
    out, compared = Path(out), [source for source in sources if is_comparison(source)]
    if compared and len(sources) > 1:
        raise ConfigError(f"sources: {compared[0]} is a comparison, which has a page of its own; give it alone")
    if compared:
        text = render_comparison(read_comparison(compared[0]))
    elif _all_of(sources, is_regression, "on regression tasks"):
        text = render_regressions(sources)
    elif _all_of(sources, is_long_tail, "of rac"):
        text = render_long_tails(sources)
    elif _all_of(sources, is_neighborhoods, "of meta-neighborhoods on pictures"):
        text = render_neighborhoods(sources)
    elif _all_of(sources, is_table, "on the rows of a table"):
        text = render_tables(sources)
    else:
        text = render([read_source(source) for source in sources])
    write_text(out, text)
    return out


def _all_of(sources: Sequence[Path | str], kind: Callable[[Path | str], bool], what: str) -> bool:
    """Whether all sources are runs of a kind that has a page of its own; `ConfigError` where only some are."""
    found = [source for source in sources if kind(source)]
    if found and len(found) < len(sources):
        other = next(source for source in sources if source not in found)
        told = f"sources: {found[0]} is a run {what}; put such runs on a page of their own, without {other}"
        raise ConfigError(told)
    return bool(found)


def _named(folders: Sequence[Path | str]) -> tuple[list[Path], list[str]]:
    paths = [Path(folder) for folder in folders]
    return paths, distinct_names([Source(path=path, kind="run", name=path.resolve().name) for path in paths])


def render_long_tails(folders: Sequence[Path | str]) -> str:
    """The page of runs of rac and its baselines as text; `FileFormatError` for damaged or incomplete files."""
    paths, names = _named(folders)
    runs = [read_long_tail(path, place, name) for place, (path, name) in enumerate(zip(paths, names, strict=True))]
    comparison = compare_long_tail(runs) if len(runs) > 1 else None
    low_bits = read_low_bits(paths, names)
    values = {"title": " / ".join(names), "runs": runs, "comparison": comparison, "low_bits": low_bits}
    return _fill("long_tail.html", values)


def render_neighborhoods(folders: Sequence[Path | str]) -> str:
    """The page of runs of Meta-Neighborhoods and its baselines as text; `FileFormatError` for damaged files."""
    paths, names = _named(folders)
    runs = [read_neighborhoods(path, place, name) for place, (path, name) in enumerate(zip(paths, names, strict=True))]
    comparison = compare_neighborhoods(runs) if len(runs) > 1 else None
    low_bits = read_low_bits(paths, names)
    values = {"title": " / ".join(names), "runs": runs, "comparison": comparison, "low_bits": low_bits}
    return _fill("neighborhoods.html", values)


def render_regressions(folders: Sequence[Path | str]) -> str:
    """The page of runs on regression tasks as text; `FileFormatError` for damaged or incomplete files."""
    paths, names = _named(folders)
    runs = [read_regression(path, place, name) for place, (path, name) in enumerate(zip(paths, names, strict=True))]
    return _fill("regression.html", {"title": " / ".join(names), "runs": runs})


def render_tables(folders: Sequence[Path | str]) -> str:
    """The page of runs on the rows of tables as text; `FileFormatError` for damaged or incomplete files."""
    paths, names = _named(folders)
    runs = [read_table_run(path, place, name) for place, (path, name) in enumerate(zip(paths, names, strict=True))]
    return _fill("tables.html", {"title": " / ".join(names), "runs": runs})


def render_comparison(comparison: ModelComparison) -> str:
    """The page of a comparison as text; `FileFormatError` where its result file lacks something the page shows."""
    try:
        return _fill("models.html", {"title": " / ".join(comparison.names), "comparison": comparison})
    except UndefinedError as error:
        raise FileFormatError(f"compare.json: incomplete or of another version ({error}); compare anew") from error


def _fill(template: str, values: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("modicum.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["percent"] = percent
    environment.filters["signed"] = signed
    environment.filters |= {"likely": likely, "breakable": breakable}
    environment.globals["counted"] = counted
    style, _, _ = environment.loader.get_source(environment, "style.css") if environment.loader else ("", "", None)
    fixed = {
        "style": Markup(style),  # our own file; everything else is escaped
        "svg": Markup,  # figures are matplotlib's, which escapes its texts
        "version": __version__,
    }
    return environment.get_template(template).render({**fixed, **values})


def render(sources: Sequence[Source]) -> str:
    """The page as text."""
    names = distinct_names(sources)
    views = [view(source, index, name) for index, (source, name) in enumerate(zip(sources, names, strict=True))]
    return _fill(
        "page.html",
        {
            "title": " / ".join(names),
            "views": views,
            "comparison": compare(sources) if len(sources) > 1 else None,
            "lowest": LOWEST,
            "low_bits": read_low_bits([source.path for source in sources], names),
        },
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
