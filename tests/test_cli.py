"""The program as a user meets it: help without heavy imports, exit codes, and what an error looks like."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import modicum
from modicum.cli import main
from modicum.commands.options import COMMANDS
from modicum.errors import DataError


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["memory", "--help"], *([*name.split(), "--help"] for name in COMMANDS)]
)
def test_help_imports_neither_torch_nor_numpy_nor_jsonargparse(words: list[str]) -> None:
    code = (
        "import sys; from modicum.cli import main; code = main(sys.argv[1:]); "
        "loaded = {'torch', 'numpy', 'jsonargparse', 'rich'} & set(sys.modules); sys.exit(str(loaded) if loaded else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "modicum" in done.stdout


def test_version_and_help_of_a_command_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"modicum {modicum.__version__}\n"
    assert main(["help", "train"]) == 0
    named = capsys.readouterr().out
    assert main(["train", "-h"]) == 0
    assert capsys.readouterr().out == named


def test_the_overview_of_a_first_word_is_shown_where_the_second_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory"]) == 2
    alone = capsys.readouterr().out
    assert "usage: modicum memory ACTION" in alone
    assert main(["memory", "--help"]) == 0
    assert capsys.readouterr().out == alone
    assert main(["help", "memory"]) == 0
    assert capsys.readouterr().out == alone
    assert main(["help", "memory", "add"]) == 0
    assert "usage: modicum memory add STORE DIR" in capsys.readouterr().out


def test_without_a_command_the_overview_is_shown_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: modicum COMMAND" in capsys.readouterr().out


ERRORS: list[tuple[str, str]] = [
    ("trian", r"unknown command 'trian' \(did you mean 'train'\?\)"),
    ("train --data x --out y --shot 5", r"no option --shot \(did you mean '--shots'\?\)"),
    ("train --data x --out y --learning-rat 5", r"no option --learning-rat \(did you mean '--learning_rate'\?\)"),
    ("train --data x --out y --ways abc", r"--ways: expected a whole number, found 'abc'"),
    ("train --data x --out y --ways 5.5", r"--ways: expected a whole number, found '5.5'"),
    ("train --data x --out y --channels 1.5", r"--channels: expected a whole number, found '1.5'"),
    ("train --data x --out y --learning_rate fast", r"--learning_rate: expected a number, found 'fast'"),
    ("train --data x --out y --learning_rate -1", r"learning_rate: expected more than 0, found -1"),
    ("train --data x --out y --batch_norm suport", r"--batch_norm: expected one of running.*\(did you mean 'support'\?\)"),
    ("train --data x --out y --method protonets", r"method: unknown 'protonets' \(did you mean 'protonet'\?\)"),
    ("train --data x --out y --backbone resnet21", r"backbone: unknown 'resnet21' \(did you mean 'resnet29'\?\)"),
    ("train --data x --out y --resume maybe", r"--resume: expected true or false, found 'maybe'"),
    ("train --data x --out y --ways", r"--ways: expected a whole number behind it, found nothing"),
    ("train --data x --out y --ways --shots 5", r"--ways: expected a whole number behind it, found nothing"),
    ("train --data x --out y -w 5", r"unknown option -w; options begin with two dashes"),
    ("train --data x --out y z", r"nothing to do with 'z'; usage: modicum train --data DATA --out FOLDER"),
    ("train", r"missing --data \(.*\), --out \(.*\); usage: modicum train --data DATA --out FOLDER"),
    ("train --data x --out y --config", r"--config: expected a YAML file behind it, found nothing"),
    ("train --data x --out y --config no-such.yaml", r"--config: cannot read no-such.yaml: No such file"),
    ("fit my pictures --out y", r"nothing to do with 'pictures'; usage: modicum fit DIR"),
    ("fit a b c --out y", r"nothing to do with 'b' 'c' \(quote a name with spaces in it\)"),
    ("fit a --out y --head protonett", r"head: unknown 'protonett' \(did you mean 'protonet'\?\)"),
    ("fit a --out y --folds 1", r"folds: expected at least 2, found 1"),
    ("evaluate run --shots 1 five", r"--shots: expected whole numbers, as in `1 5`, found '1 five'"),
    ("evaluate run --shots 0", r"shots: expected numbers of at least 1"),
    ("evaluate run --split tset", r"split: unknown 'tset' \(did you mean 'test'\?\)"),
    ("evaluate run --tasks 1", r"tasks: expected at least 2"),
    ("predict classifier", r"missing IMAGE"),
    ("predict classifier a.png --reject 5", r"reject: expected a rate between 0 and 1 .*, found 5"),
    ("predict classifier a.png --reject nan", r"reject: expected a (rate|number)"),
    ("forget classifier", r"nothing to forget: give picture ids by --id or a class by --class"),
    ("cache list", r"ls\|clear: expected one of ls, clear, found 'list' \(did you mean 'ls'\?\)"),
    ("reproduce list --scale cpus", r"--scale: expected one of smoke, cpu, full, found 'cpus' \(did you mean 'cpu'\?\)"),
    ("memory serach a b", r"unknown command 'memory serach' \(did you mean 'memory search'\?\); commands: memory create, "),
    ("memory --store a", r"unknown option --store before the action; usage: modicum memory ACTION"),
    ("memory add a", r"modicum memory add: missing DIR .*; usage: modicum memory add STORE DIR \[options\]"),
    ("memory create a --encodr pixels", r"modicum memory create has no option --encodr \(did you mean '--encoder'\?\)"),
    (
        "memory create a --encoder pixels --metric cosin",
        r"--metric: expected one of cosine, l2.*\(did you mean 'cosine'\?\)",
    ),
    ("memory remove a", r"nothing to remove: give ids .* or --source NAME"),
    ("memory remove a 1 two", r"ID: expected whole numbers, as in `1 5`, found '1 two'"),
    ("memory remove a 1 --source b", r"ids and --source: expected one of them, found both"),
    ("memory remove a --names b", r"names: expected --source beside them"),
    ("memory relabel a 1", r"nothing to relabel with: give --label or --text"),
    ("memory search a b.png --k 0", r"k: expected at least 1, found 0"),
    ("memory search a b.png --index hsnw", r"--index: expected one of auto, exact, hnsw.*\(did you mean 'hnsw'\?\)"),
    ("memory add a b --batch 0", r"batch: expected at least 1, found 0"),
    ("memory list a --rows -1", r"rows: expected 0 or more, found -1"),
    ("--verison", r"unknown option --verison before the command"),
]


@pytest.mark.parametrize(("line", "message"), ERRORS)
def test_what_a_user_did_wrong_is_one_message_and_exit_code_2(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err
    assert re.search(message, shown.err)


def stand_in(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> None:
    """Make `modicum check` raise something."""

    def run(config: object) -> int:
        raise raised

    monkeypatch.setitem(sys.modules, "modicum.commands.check", SimpleNamespace(run=run))


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (DataError("3 pictures are unreadable"), 2, "error: 3 pictures are unreadable\n"),
        (PermissionError(13, "Permission denied", "/secret/a.png"), 2, "error: /secret/a.png: Permission denied\n"),
        (OSError(28, "No space left on device", "run/last"), 2, "error: run/last: No space left on device\n"),
        (MemoryError(), 2, "error: not enough memory; "),
        (KeyboardInterrupt(), 130, "error: interrupted; nothing was changed\n"),
    ],
)
def test_errors_of_user_and_machine_have_no_traceback(
    raised: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, raised)
    assert main(["check", "pictures"]) == code
    err = capsys.readouterr().err
    assert err.startswith(message)
    assert "Traceback" not in err


def test_a_bug_keeps_its_traceback_and_says_whose_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, ZeroDivisionError("division by zero"))
    assert main(["check", "pictures"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ZeroDivisionError" in err
    assert "this is a bug of modicum" in err


def test_debug_shows_where_an_error_came_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, DataError("3 pictures are unreadable"))
    assert main(["check", "pictures", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: 3 pictures are unreadable\n")


def test_a_message_is_not_read_as_markup(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, DataError("no class [bold]x[/bold] in [a, b]"))
    assert main(["check", "pictures"]) == 2
    assert capsys.readouterr().err == "error: no class [bold]x[/bold] in [a, b]\n"


def test_a_result_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, AssertionError("the work began"))
    (tmp_path / "file").write_text("x")
    assert main(["check", "pictures", "--json", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert main(["check", "pictures", "--json", str(tmp_path / "file" / "result.json")]) == 2
    assert "no folder that can be written to" in capsys.readouterr().err


def test_an_interruption_tells_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(config: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "modicum.commands.train", SimpleNamespace(run=run))
    words = ["train", "--data", "digits", "--out", str(tmp_path / "run")]
    assert main(words) == 130
    assert "nothing was written to" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    assert main(words) == 130
    assert "run holds the checkpoints so far; go on with the same command and --resume" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "modicum.cli", "train", "--help"],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
