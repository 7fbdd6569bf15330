"""From words and YAML files to configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modicum import configs
from modicum.commands.parsing import parse
from modicum.errors import ConfigError

TRAIN = ["--data", "digits", "--out", "run"]


def config(command: str, *words: str) -> Any:
    return parse(command, words).config


def test_words_become_the_typed_values_of_the_dataclass() -> None:
    made = config("train", *TRAIN, "--ways", "20", "--learning_rate", "1e-2", "--channels", "1", "--batch_norm", "support")
    assert made == configs.Train(data="digits", out="run", ways=20, learning_rate=0.01, channels=1, batch_norm="support")
    assert type(made.ways) is int
    assert type(made.learning_rate) is float


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--shots", "1", "5"], [1, 5]),
        (["--shots=1", "5"], [1, 5]),
        (["--shots", "1", "--shots", "5"], [1, 5]),
        (["--shots", "10"], [10]),
        ([], []),
    ],
)
def test_several_values_follow_one_flag(words: list[str], expected: list[int]) -> None:
    assert config("evaluate", "run", *words).shots == expected


def test_a_positional_word_may_stand_behind_a_list_of_numbers() -> None:
    made = config("evaluate", "--shots", "1", "5", "my-run")
    assert (made.run, made.shots) == ("my-run", [1, 5])


@pytest.mark.parametrize("flag", ["--batch_norm", "--batch-norm"])
def test_dashes_and_underscores_are_the_same(flag: str) -> None:
    assert config("train", *TRAIN, flag, "batch").batch_norm == "batch"
    assert config("train", *TRAIN, f"{flag}=batch").batch_norm == "batch"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--resume"], True),
        (["--resume", "true"], True),
        (["--resume=yes"], True),
        (["--resume", "false"], False),
        (["--resume=False"], False),
        (["--no-resume"], False),
        (["--no_resume"], False),
        ([], False),
        (["--resume", "--ways", "7"], True),
    ],
)
def test_a_switch_takes_no_value_or_a_truth_value(words: list[str], expected: bool) -> None:
    assert config("train", *TRAIN, *words).resume is expected


def test_a_word_behind_a_switch_is_not_swallowed() -> None:
    made = config("check", "--deep", "pictures")
    assert (made.data, made.deep) == ("pictures", True)


def test_options_may_stand_between_positional_words() -> None:
    made = config("predict", "classifier", "--top", "5", "a.png", "b.png")
    assert made == configs.Predict(classifier="classifier", images=["a.png", "b.png"], top=5)


def test_after_two_dashes_every_word_is_a_name() -> None:
    assert config("predict", "classifier", "--", "--odd.png", "-x.png").images == ["--odd.png", "-x.png"]


def test_forget_takes_class_and_ids() -> None:
    assert config("forget", "c", "--class", "cat").class_name == "cat"
    assert config("forget", "c", "--class_name=cat").class_name == "cat"
    assert config("forget", "c", "--id", "a/1.png", "b/2.png", "--id", "c").id == ["a/1.png", "b/2.png", "c"]


@pytest.mark.parametrize("text", ["null", "123", "1e3", "true", "[a]", "a: b", "ü ß", ""])
def test_text_stays_text(text: str) -> None:
    assert config("forget", "c", f"--class={text}", "--id", text).class_name == text
    assert config("forget", "c", "--id", text).id == [text]


def test_a_yaml_file_gives_values_and_flags_win_wherever_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("data: omniglot\nout: run\nways: 20\nlearning_rate: 1e-4\nresume: true\nbatch-norm: batch\n")
    made = config("train", "--ways", "60", "--config", str(file))
    assert made == configs.Train("omniglot", "run", ways=60, learning_rate=1e-4, resume=True, batch_norm="batch")


def test_positional_words_may_come_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "evaluate.yaml"
    file.write_text("run: my-run\nshots: [1, 5, 10]\njson: null\n")
    assert config("evaluate", "--config", str(file)) == configs.Evaluate("my-run", shots=[1, 5, 10])


def test_an_empty_yaml_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n")
    assert config("train", *TRAIN, "--config", str(file)) == configs.Train("digits", "run")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", ["--data", 'dä "ta": x', "--out", "#run", "--learning_rate", "1e-7", "--resume", "--no_tensorboard"]),
        ("evaluate", ["run", "--shots", "1", "5", "20", "--batch_norm", "support"]),
        ("forget", ["c", "--class", "null", "--id", "1", "true"]),
        ("predict", ["c", "a.png", "b.png", "--reject", "0.05"]),
        ("cache", ["ls"]),
        ("demo", []),
    ],
)
def test_print_config_can_be_fed_back(command: str, words: list[str], tmp_path: Path) -> None:
    printed = parse(command, [*words, "--print_config"])
    assert printed.config is None
    file = tmp_path / "printed.yaml"
    file.write_text(printed.text)
    assert config(command, "--config", str(file)) == config(command, *words)
    assert parse(command, ["--config", str(file), "--print-config"]).text == printed.text


def test_print_config_works_before_anything_is_given() -> None:
    text = parse("fit", ["--print_config"]).text
    assert "# data:  # required: " in text
    assert "folds: 5  # outer folds" in text


YAML_ERRORS = [
    ("shot: 5\n", r"unknown key 'shot' \(did you mean 'shots'\?\)"),
    ("xyzzy: 5\n", r"unknown key 'xyzzy'; known: data, out, "),
    ("ways: five\n", r"train.yaml: --ways: expected a whole number, found 'five'"),
    ("ways: null\n", r"train.yaml: --ways: expected a whole number, found None"),
    ("ways: true\n", r"train.yaml: --ways: expected a whole number, found True"),
    ("out: 5\n", r'train.yaml: --out: expected text, found 5; put it in quotes: "..."'),
    ("ways: [1\n", r"train.yaml is not valid YAML in line 2"),
    ("- 1\n", r"expected lines `option: value`, found list"),
    ("\x00", r"train.yaml is not valid YAML"),
]


@pytest.mark.parametrize(("content", "message"), YAML_ERRORS)
def test_a_wrong_yaml_file_is_refused_with_a_hint(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        parse("train", [*TRAIN, "--config", str(file)])


def test_a_binary_file_is_no_yaml(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ConfigError, match="not a text file"):
        parse("train", [*TRAIN, "--config", str(file)])
