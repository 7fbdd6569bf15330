"""The command line: help at once, parsing, dispatch, and what an error looks like.

Exit codes: 0 done; 1 `check` found training unsafe; 2 something the user can put right; 70 a bug of modicum;
130 interrupted by Ctrl-C; 141 the reader of the output went away.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from modicum.commands.help import group_overview, overview
from modicum.commands.options import COMMANDS, GROUPS, named
from modicum.commands.parsing import parse
from modicum.errors import ConfigError, ModicumError, WriteError

USER_ERROR, BUG, INTERRUPTED, NO_READER = 2, 70, 130, 141


def _complain(message: str) -> None:
    """One red message on stderr."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), (message, "red")))


def _check_result_file(config: Any) -> None:
    """Refuse a result file that cannot be written before hours of work, not after."""
    path = getattr(config, "json", None)
    if path is None:
        return
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if os.path.isdir(path):
        raise WriteError(f"--json: {path} is a folder; expected the name of a file")
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise WriteError(f"--json: cannot write {path}: {folder} is no folder that can be written to")


def _interrupted(name: str, config: Any) -> str:
    if name not in COMMANDS or config is None:
        return "interrupted"
    if getattr(config, "out", None) and not os.path.exists(config.out):
        return f"interrupted; nothing was written to {config.out} yet"
    return f"interrupted; {COMMANDS[name].interrupted.format_map(vars(config))}"


def _explain(error: Exception) -> str | None:
    """The message for an error that a user or the machine caused; None for a bug of ours."""
    if isinstance(error, ModicumError):
        return str(error)
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror or error}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return "not enough memory; a smaller --batch, --image_size or --ways needs less"
    return None


_HELP = ("-h", "--help")


def _help(words: Sequence[str]) -> str:
    """What `modicum help WORDS` prints."""
    if not words or words[0] in _HELP:
        return overview()
    return group_overview(words[0]) if words[0] in GROUPS and len(words) == 1 else parse(named(words)[0], ["--help"]).text


def _dispatch(words: Sequence[str], started: list[Any]) -> int:
    if not words or words[0] in (*_HELP, "help"):
        print(_help(words[1:]), end="")
        return 0 if words else USER_ERROR
    if words[0] in GROUPS and (len(words) == 1 or words[1] in _HELP):
        print(group_overview(words[0]), end="")
        return 0 if len(words) > 1 else USER_ERROR
    if words[0] == "--version":
        from modicum import __version__

        print(f"modicum {__version__}")
        return 0
    if words[0].startswith("-"):
        raise ConfigError(f"unknown option {words[0]} before the command; usage: modicum COMMAND ...")
    if words[0] in GROUPS and words[1].startswith("-"):
        raise ConfigError(f"unknown option {words[1]} before the action; usage: modicum {words[0]} ACTION ...")
    name, rest = named(words)
    request = parse(name, rest)
    if request.config is None:
        print(request.text, end="")
        return 0
    _check_result_file(request.config)
    started.append(request.config)
    return int(importlib.import_module(COMMANDS[name].module).run(request.config))


def _run(words: Sequence[str], debug: bool) -> int:
    started: list[Any] = []
    try:
        code = _dispatch(words, started)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _complain(_interrupted(named(words)[0] if words else "", started[0] if started else None))
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    except Exception as error:
        message = _explain(error)
        if debug or message is None:
            import traceback

            traceback.print_exc()
        if message is None:
            _complain("this is a bug of modicum, not of yours; please report it with the lines above and the command")
            return BUG
        _complain(message)
        return USER_ERROR


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `arguments` without the program's name (default: those of the process). Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    own = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in own
    if debug:
        words.remove("--debug")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    return _run(words, debug)


if __name__ == "__main__":
    sys.exit(main())
