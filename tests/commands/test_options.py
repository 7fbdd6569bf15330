"""The options of every command, read from the dataclasses."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest

from modicum.commands.help import command_help, group_overview, overview
from modicum.commands.options import COMMANDS, GROUPS, named

NAMES = [
    "check", "fit", "predict", "extend", "forget", "train", "quantize", "evaluate", "compare", "adapt", "report",
    "reproduce", "demo", "cache", "memory create", "memory add", "memory remove", "memory relabel", "memory list",
    "memory search", "memory stats", "memory verify", "memory rebuild", "memory move",
]  # fmt: skip


def test_the_commands_of_the_package_are_these() -> None:
    assert list(COMMANDS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_configuration_is_an_option_with_a_help_text(name: str) -> None:
    command = COMMANDS[name]
    assert {option.name for option in command.options} == {field.name for field in dataclasses.fields(command.config)}
    assert [option.name for option in command.options if not option.help] == []
    assert set(command.positionals) <= {option.name for option in command.options}


@pytest.mark.parametrize("name", NAMES)
def test_help_names_every_flag_and_every_choice(name: str) -> None:
    text = command_help(COMMANDS[name])
    for option in COMMANDS[name].options:
        assert option.shown in text
        assert all(choice in text for choice in option.choices)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_a_module_that_runs_it(name: str) -> None:
    assert importlib.util.find_spec(COMMANDS[name].module) is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_message_of_an_interruption_needs_only_fields_of_the_command(name: str) -> None:
    fields = {option.name: f"<{option.name}>" for option in COMMANDS[name].options}
    assert COMMANDS[name].interrupted.format_map(fields)


def test_options_come_in_groups_that_a_comment_above_the_fields_names() -> None:
    """Help has a section for each; the first, without a name, holds what must be given."""
    options = COMMANDS["train"].options
    groups = list(dict.fromkeys(option.group for option in options))
    assert groups[0] == ""
    assert "gradient methods (maml, alfa, reptile, ...)" in groups
    assert {option.group for option in options if option.required} == {""}
    order = [option.group for option in options]
    assert order == sorted(order, key=groups.index)  # no group is torn apart
    text = command_help(COMMANDS["train"])
    assert text.index("gradient methods (maml, alfa, reptile, ...):") < text.index("--inner_rate") < text.index("\nalfa:")
    assert {option.group for option in COMMANDS["fit"].options} == {""}


def test_usage_shows_what_must_be_given() -> None:
    assert command_help(COMMANDS["fit"]).startswith("usage: modicum fit DIR --out FOLDER [options]\n")
    assert "modicum predict CLASSIFIER IMAGE [IMAGE ...] [options]" in command_help(COMMANDS["predict"])


def test_a_per_cent_is_told_once() -> None:
    assert "with 95 % interval" in " ".join(command_help(COMMANDS["evaluate"]).split())


def test_defaults_and_required_options_are_told() -> None:
    text = " ".join(command_help(COMMANDS["train"]).split())
    assert "folder of the run, made here (required)" in text
    assert "classes per training task (default: 5)" in text
    assert "(on; --no_tensorboard turns it off)" in text


def test_the_overview_lists_every_command_with_its_summary() -> None:
    text = " ".join(overview().split())
    for command in (command for name, command in COMMANDS.items() if " " not in name):
        assert f" {command.name} {command.summary}" in text
    for group, summary in GROUPS.items():
        assert f" {group} {summary}" in text
        actions = " ".join(group_overview(group).split())
        own = [command for name, command in COMMANDS.items() if name.startswith(f"{group} ")]
        assert own
        for command in own:
            assert f" {command.name.removeprefix(group).strip()} {command.summary}" in actions


def test_a_command_of_two_words_is_named_by_both() -> None:
    assert named(["memory", "add", "a", "b"]) == ("memory add", ["a", "b"])
    assert named(["fit", "a"]) == ("fit", ["a"])
    assert named(["memory"]) == ("memory", [])
    assert COMMANDS["memory add"].module == "modicum.commands.memory.add"


def test_positional_arguments_that_may_be_left_out_stand_in_brackets() -> None:
    assert command_help(COMMANDS["memory remove"]).startswith("usage: modicum memory remove STORE [ID ...] [options]\n")
