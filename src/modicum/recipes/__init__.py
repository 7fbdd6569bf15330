"""One file per table or experiment; each states source, command, cost and target."""

from modicum.recipes.names import RECIPES
from modicum.recipes.runner import listing, reproduce
from modicum.recipes.table import COLUMNS, Table, TableRow, as_text

__all__ = ["COLUMNS", "RECIPES", "Table", "TableRow", "as_text", "listing", "reproduce"]
