"""Pictures -> keys and queries of a memory: one function for both, whose rows do not depend on their neighbours.

A memory's keys come from `models.embed`, which shows the encoder 8 pictures at a time, the last pass filled up with black
ones. `embed_batch` does the same with tensors: where pictures are uint8 and of the encoder's size, its rows equal those of
`models.embed` to the bit, on the same device with the same number of threads. Pictures of a training step may be floats
(augmented), and may have been opened at another size for another encoder: those are resized, antialiased, and grey pictures
are repeated to three channels or colours weighed to grey (ITU-R 601), so that one batch serves both encoders. A memory
whose pictures are to be found at similarity 1 has to be made from pictures of the same size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.backbones.batch_norm import forward_frozen
from modicum.backbones.encoder import Encoder, ImageSpec
from modicum.errors import DataError

PASS = 8
"""Pictures per pass, that of `models.embed`."""
MOST = 64
"""Pictures per pass at most where bits may depend on how many there are."""
_GREY = (0.299, 0.587, 0.114)


def fitted(x: Tensor, spec: ImageSpec) -> Tensor:
    """Pictures (B, C, H, W) as an encoder of that spec takes them: its channels and its size; uint8 where none is changed.

    `DataError` for other shapes, and for values that are neither uint8 nor float.
    """
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        raise DataError(f"x: expected pictures (B, 1 or 3, H, W), found shape {tuple(x.shape)}")
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise DataError(f"x: expected uint8 (0..255) or float ([0, 1]) pictures, found {x.dtype}")
    if x.shape[1] == spec.channels and x.shape[2:] == (spec.size, spec.size):
        return x
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    if x.shape[1] != spec.channels:
        weights = torch.tensor(_GREY, device=x.device).reshape(1, 3, 1, 1)
        x = (x * weights).sum(1, keepdim=True) if spec.channels == 1 else x.expand(-1, 3, -1, -1)
    if x.shape[2:] != (spec.size, spec.size):
        x = F.interpolate(x, size=(spec.size, spec.size), mode="bilinear", antialias=True, align_corners=False)
    return x


def even_pass(pictures: int) -> int:
    """Pictures per pass so that none is filled up by more than it must, and none exceeds `MOST`; 1 for no pictures."""
    passes = -(-pictures // MOST)
    return -(-pictures // passes) if passes else 1


@torch.inference_mode()
def embed_batch(encoder: Encoder, x: Tensor, batch: int = PASS) -> Tensor:
    """Embeddings, float32 (B, D), of pictures (B, C, H, W); no gradient, evaluation mode, no autocast.

    Bits depend on `batch`, device and number of threads, never on the other rows. `DataError` for bad pictures, and where
    an embedding is not finite.
    """
    x = fitted(x.detach(), encoder.spec)
    buffers = dict(encoder.named_buffers())
    rows = []
    with torch.autocast(x.device.type, enabled=False):
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            if len(part) < batch:
                part = torch.cat([part, part.new_zeros(batch - len(part), *part.shape[1:])])
            rows.append(forward_frozen(encoder, part, buffers)[: len(x) - start].float())
    embeddings = torch.cat(rows) if rows else x.new_zeros(0, encoder.n_features, dtype=torch.float32)
    if not bool(torch.isfinite(embeddings).all()):
        raise DataError(f"encoder: {encoder.name} gave embeddings that are not finite; its weights or pictures are damaged")
    return embeddings
