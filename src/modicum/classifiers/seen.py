"""Which pictures belong together, and which an encoder has been adapted to.

The embedding of a picture that has trained its encoder lies nearer to its class than that of a new one. So such pictures
serve to choose and to fit a head, but not to say how good it is; and an encoder cannot forget them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from modicum.classifiers.folds import merge
from modicum.classifiers.support import Support
from modicum.errors import DataError
from modicum.evaluation.accuracy import Ints


def units_of(support: Support) -> Ints:
    """Unit (n,) of every picture: those of one group and copies of one file are held out together."""
    return merge(support.groups, support.digests)


def seen_by(ids: Sequence[str], support: Support) -> npt.NDArray[np.bool_] | None:
    """Which pictures (n,) of a support set are among `ids`, or copies of them, or of their groups; None without ids."""
    if not ids:
        return None
    units = units_of(support)
    found: npt.NDArray[np.bool_] = np.isin(units, units[np.isin(support.ids, ids)])
    return found


def require_unseen(ids: Sequence[str], support: Support, left: Support) -> None:
    """Raise `DataError` where pictures of a support set that are not `left` are among `ids`, which trained the encoder."""
    trained = sorted((set(support.ids) - set(left.ids)) & set(ids))
    if trained:
        raise DataError(
            f"forget: the encoder was adapted to {len(trained)} of these pictures ({', '.join(trained[:3])}) and would keep "
            "what it learned from them; nothing was forgotten. Adapt anew to the others: `modicum adapt RUN --support DIR`"
        )
