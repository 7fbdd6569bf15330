"""Small support sets and a small encoder."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.adaptation.mct import MCTHead
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.classifiers.support import Support, support_of

Maker = Callable[..., Support]


def make_support(
    counts: Sequence[int], dims: int = 6, apart: float = 1.5, seed: int = 0, pictures_per_group: int = 0, start: int = 0
) -> Support:
    """Gaussian classes "c0", "c1", ... with ids "c0/0003"; `start` numbers on, so that two calls are disjoint."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(len(counts), dims)) * apart
    labels = np.repeat(np.arange(len(counts)), counts)
    numbers = np.concatenate([np.arange(n) for n in counts]) + start
    features = centres[labels] + rng.normal(size=(len(labels), dims))
    ids = [f"c{c}/{i:04d}" for c, i in zip(labels, numbers, strict=True)]
    groups = [f"g{i // pictures_per_group}" for i in numbers] if pictures_per_group else ()
    thumbnails = rng.integers(0, 255, (len(labels), 8, 8, 1), np.uint8)
    return support_of(features, [f"c{c}" for c in labels], ids, [f"hash {i}" for i in ids], groups, thumbnails)


@pytest.fixture(scope="session")
def support() -> Maker:
    """`make_support`."""
    return make_support


def trained_looking(n_features: int) -> MCTHead:
    """An MCT head whose lengths differ from picture to picture, as after training."""
    torch.manual_seed(0)
    head = MCTHead(n_features)
    with torch.no_grad():
        head.metric.out_weight.normal_()
        head.metric.hidden_bias.normal_()
        head.metric.log_spread.fill_(0.7)
    return head


@pytest.fixture(scope="session")
def mct() -> Callable[[int], MCTHead]:
    """`trained_looking`."""
    return trained_looking


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """An untrained conv4-32 for 28 x 28 grey pictures: random features tell digits apart well enough."""
    torch.manual_seed(0)
    return build_encoder("conv4-32", ImageSpec(28, 1, strokes="light")).eval()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder "first" with 12 pictures each of 0, 1, 2 and one of 3, and a folder "more" with 4 each of 2, 4."""
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch, top = load_digits(), tmp_path_factory.mktemp("digits")
    wanted = {"first": {0: (0, 12), 1: (0, 12), 2: (0, 12), 3: (0, 1)}, "more": {2: (12, 16), 4: (0, 4)}}
    for part, classes in wanted.items():
        for digit, (low, high) in classes.items():
            folder = top / part / str(digit)
            folder.mkdir(parents=True)
            for index in np.flatnonzero(bunch.target == digit)[low:high]:
                image = Image.fromarray((bunch.images[index] * 15.9).astype(np.uint8)).resize((28, 28))
                image.save(folder / f"{index:04d}.png")
    return top
