"""One file per table or experiment; each states source, command, cost and target."""

from modicum.recipes.runner import RECIPES, listing, reproduce
from modicum.recipes.table import COLUMNS, TableRow, as_text

__all__ = ["COLUMNS", "RECIPES", "TableRow", "as_text", "listing", "reproduce"]
