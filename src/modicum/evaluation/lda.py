"""Three classes of features in the plane, by linear discriminant analysis (Fisher 1936; scikit-learn's).

    w_1, w_2 = the directions that maximise (variance between class means) / (variance within classes)

Fig. 5.2 of the thesis behind the head-swap tables projects 100 pictures of each of three test classes like this.
Axes are signed so that the first class lies to the right (first axis) and the second above (second axis). With fewer
pictures than features LDA separates any labels, so features are first reduced to half as many principal directions as
there are pictures, and never more than 64; such a plot shows how classes lie, and is no evidence of accuracy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.evaluation.accuracy import Floats

MOST_DIRECTIONS = 64


def principal_directions(x: Floats, count: int) -> Floats:
    """Centred features (n, D) in their first min(count, n, D) principal directions."""
    centred = x - x.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(u[:, :count] * s[:count], np.float64)


def lda_plane(features: npt.ArrayLike, labels: npt.ArrayLike) -> Floats:
    """Points (n, 2) of features (n, D) with labels (n,) of 2 or 3 classes; two classes get 0 on the second axis.

    `DataError` for another number of classes, or a class with fewer than 2 pictures.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x = np.asarray(features, np.float64)
    classes, y = np.unique(np.asarray(labels), return_inverse=True)
    counts = np.bincount(y)
    if len(classes) not in (2, 3) or counts.min() < 2:
        raise DataError(f"labels: expected 2 or 3 classes with at least 2 pictures each, found counts {counts.tolist()}")
    directions = min(MOST_DIRECTIONS, max(2, len(x) // 2))
    z = principal_directions(x, directions)
    z = z[:, z.std(0) > 1e-12 * max(float(z.std()), 1e-300)]
    points = np.zeros((len(x), 2))
    if z.shape[1]:
        found = LinearDiscriminantAnalysis(solver="svd").fit(z, y).transform(z)[:, :2]
        points[:, : found.shape[1]] = found
    for axis in range(2):
        if points[y == axis, axis].mean() < 0:
            points[:, axis] *= -1
    return points
