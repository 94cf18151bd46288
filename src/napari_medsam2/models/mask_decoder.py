"""What the two inference forms of SAM's mask decoder have in common: objects, some at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["MaskDecoder"]

_OBJECTS_AT_ONCE = 8
"""Every object has its own copy of the image while it is decoded: 8 MiB and more."""


class MaskDecoder(nn.Module):
    """One mask a prompt; `sam_decoder.fast_mask_decoder` builds one and says what it takes.

    Attributes
    ----------
    size : (C, h, w)
        Of the image embedding.
    """

    size: tuple[int, ...]

    def forward(self, features: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Decode prompts; see `sam_decoder.fast_mask_decoder`."""
        logits, ious, _ = self.answer(features, sparse, dense)
        return logits, ious

    def answer(
        self, features: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode as `forward` does, and return the tokens of the masks, (N, C), as well.

        Raises
        ------
        ValueError
            For features or dense embeddings that do not fit.
        """
        if tuple(features.shape) != (1, *self.size):
            raise ValueError(
                f"the mask decoder needs features of {(1, *self.size)}, got {tuple(features.shape)}"
            )
        if dense.ndim != 1 and len(dense) not in (1, len(sparse)):
            raise ValueError(f"got {len(dense)} dense embeddings for {len(sparse)} objects")
        pixels = self._images(features, dense)
        parts = []
        for start in range(0, len(sparse), _OBJECTS_AT_ONCE):
            some = slice(start, start + _OBJECTS_AT_ONCE)
            parts.append(self._decode(pixels if len(pixels) == 1 else pixels[some], sparse[some]))
        masks, ious, found = zip(*parts, strict=True)
        return torch.cat(masks), torch.cat(ious), torch.cat(found)

    @abstractmethod
    def _images(self, features: Tensor, dense: Tensor) -> Any:
        """Return the image with what is said of each pixel: one an object, or one for all.

        In the form that `_decode` takes; it has a length and can be sliced.
        """

    @abstractmethod
    def _decode(self, pixels: Any, sparse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decode some objects with an image each, or one for all."""
