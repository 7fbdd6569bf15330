"""`modicum memory ...`: one module for each action, and what they share."""
