"""When a training ends before its last step: after so many validations without a better one."""

from __future__ import annotations


class Patience:
    """most: validations without a better one before the end, None for no end. since: of them so far; checkpoints keep it."""

    def __init__(self, most: int | None) -> None:
        self.most, self.since = most, 0

    def after_validation(self, better: bool) -> None:
        """Count a validation."""
        self.since = 0 if better else self.since + 1

    @property
    def over(self) -> bool:
        """Whether the training is to end."""
        return self.most is not None and self.since >= self.most
