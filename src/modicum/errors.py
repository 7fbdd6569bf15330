"""Errors a user can cause. Each says which parameter, what was expected, what was found, and what to do."""

from __future__ import annotations


class ModicumError(Exception):
    """Base of all errors that a user's input can cause; the command line prints it without a traceback."""


class DataError(ModicumError):
    """Pictures, tables or splits that cannot be used."""


class ConfigError(ModicumError, ValueError):
    """An option, a configuration key or a combination of them that makes no sense."""


class FileFormatError(ModicumError):
    """A file written by us that is damaged, was changed, or comes from another version."""


class WriteError(ModicumError):
    """A file that could not be written; what was there before is still there."""


class TrainingError(ModicumError):
    """Training that cannot go on, with the step and the likely cause."""


class MissingExtra(ModicumError, ImportError):
    """An optional dependency that is not installed; the message says which extra to install."""
