"""The four networks inside SAM 2, as published or in the fast forms that this package has for CPUs.

On other devices the published ones are used: they have fused kernels there, which autocast lowers.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import torch

from .hiera import fast_image_encoder
from .memory_attention import fast_memory_attention
from .memory_encoder import fast_memory_encoder
from .track_decoder import fast_track_decoder

if TYPE_CHECKING:
    from torch import Tensor

    from .tinyvit import Precision

__all__ = ["FastParts", "Parts", "PublishedParts", "choose_parts"]

Decoded = tuple["Tensor", "Tensor", "Tensor", "Tensor"]
"""Logits (N, M, 4 h, 4 w), predicted IoU (N, M), tokens (N, M or 1, C), object scores (N, 1)."""


class Parts(Protocol):
    """What the steps of SAM 2 are made of."""

    def encode(self, image: Tensor) -> tuple[Tensor, ...]:
        """Encode (1, 3, S, S): features (C, h, w), then the finer levels, finest first."""

    def attend(
        self, image: Tensor, image_position: Tensor, memory: Tensor, position: Tensor, pointers: int
    ) -> Tensor:
        """Return (N, C, h, w) for an image (C, h, w) and N memories (N, T, c)."""

    def decode(
        self,
        image: Tensor,
        details: tuple[Tensor, ...],
        sparse: Tensor,
        dense: Tensor,
        *,
        multimask: bool,
    ) -> Decoded:
        """Decode N objects of images (N or 1, C, h, w)."""

    def memorise(self, image: Tensor, masks: Tensor) -> Tensor:
        """Return memories (N, c, h, w) of an image (C, h, w) and masks (N, 1, S, S)."""


class PublishedParts:
    """The networks as they are.

    Parameters
    ----------
    net : SAM2Base
    dense_position : torch.Tensor
        (1, C, h, w).
    """

    def __init__(self, net: Any, dense_position: Tensor, *, compiled: bool = False) -> None:
        self.net = net
        self._forward = net.forward_image
        if compiled:
            self._forward = torch.compile(net.forward_image, dynamic=False)
        self.dense_position = dense_position

    def encode(self, image: Tensor) -> tuple[Tensor, ...]:
        """Encode (1, 3, S, S): features (C, h, w), then the finer levels, finest first."""
        levels = self._forward(image)["backbone_fpn"]
        levels = levels[-self.net.num_feature_levels :]
        return tuple(level[0] for level in (levels[-1], *levels[:-1]))

    def attend(
        self, image: Tensor, image_position: Tensor, memory: Tensor, position: Tensor, pointers: int
    ) -> Tensor:
        """Return (N, C, h, w) for an image (C, h, w) and N memories (N, T, c)."""
        count = len(memory)
        mixed: Tensor = self.net.memory_attention(
            curr=image.flatten(1).t()[:, None].expand(-1, count, -1),
            curr_pos=image_position.flatten(1).t()[:, None].expand(-1, count, -1),
            memory=memory.transpose(0, 1),
            memory_pos=position[:, None].expand(-1, count, -1),
            num_obj_ptr_tokens=pointers,
        )
        return mixed.permute(1, 2, 0).reshape(count, *image.shape)

    def decode(
        self,
        image: Tensor,
        details: tuple[Tensor, ...],
        sparse: Tensor,
        dense: Tensor,
        *,
        multimask: bool,
    ) -> Decoded:
        """Decode N objects of images (N or 1, C, h, w)."""
        count = len(sparse)
        decoded: Decoded = self.net.sam_mask_decoder(
            image_embeddings=image.expand(count, -1, -1, -1),
            image_pe=self.dense_position,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=[level[None].expand(count, -1, -1, -1) for level in details] or None,
        )
        return decoded

    def memorise(self, image: Tensor, masks: Tensor) -> Tensor:
        """Return memories (N, c, h, w) of an image (C, h, w) and masks (N, 1, S, S)."""
        images = image[None].expand(len(masks), -1, -1, -1)
        memories: Tensor = self.net.memory_encoder(images, masks, skip_mask_sigmoid=True)[
            "vision_features"
        ]
        return memories


class FastParts:
    """Our inference forms of the networks; see their modules.

    Parameters
    ----------
    net : SAM2Base
        Neither changed nor kept.
    dense_position : torch.Tensor
        (1, C, h, w).
    precision : {"fp32", "bf16", "fp16"}

    Raises
    ------
    ValueError
        If the network is not built as SAM 2's own configs say.
    """

    def __init__(
        self, net: Any, dense_position: Tensor, precision: Precision, *, compiled: bool = False
    ) -> None:
        device = dense_position.device
        decoder = net.sam_mask_decoder
        grid = (dense_position.shape[2], dense_position.shape[3])
        if not net.use_high_res_features_in_sam:
            raise ValueError("the mask decoder must take finer levels of the image")
        self.encoder = fast_image_encoder(
            net.image_encoder, decoder.conv_s0, decoder.conv_s1, device, precision
        )
        if compiled:
            self.encoder.compile(dynamic=False)
        self.attention = fast_memory_attention(net.memory_attention, grid, device, precision)
        self.decoder = fast_track_decoder(decoder, dense_position, device)
        self.memory_encoder = fast_memory_encoder(net.memory_encoder, device, precision)

    def encode(self, image: Tensor) -> tuple[Tensor, ...]:
        """Encode (1, 3, S, S): features (C, h, w), then the finer levels, finest first."""
        return tuple(level[0] for level in self.encoder(image))

    def attend(
        self, image: Tensor, image_position: Tensor, memory: Tensor, position: Tensor, pointers: int
    ) -> Tensor:
        """Return (N, C, h, w) for an image (C, h, w) and N memories (N, T, c)."""
        mixed: Tensor = self.attention(
            image[None], image_position[None], memory, position, pointers
        )
        return mixed

    def decode(
        self,
        image: Tensor,
        details: tuple[Tensor, ...],
        sparse: Tensor,
        dense: Tensor,
        *,
        multimask: bool,
    ) -> Decoded:
        """Decode N objects of images (N or 1, C, h, w)."""
        s0, s1 = (level[None] for level in details)
        decoded: Decoded = self.decoder(image, s0, s1, sparse, dense, multimask)
        return decoded

    def memorise(self, image: Tensor, masks: Tensor) -> Tensor:
        """Return memories (N, c, h, w) of an image (C, h, w) and masks (N, 1, S, S)."""
        memories: Tensor = self.memory_encoder(image[None], masks)
        return memories


def choose_parts(
    net: Any, dense_position: Tensor, precision: Precision, *, compiled: bool = False
) -> Parts:
    """Take the fast forms where they gain, which is on CPUs, and fit the network."""
    if dense_position.device.type == "cpu":
        # A config of someone's own may have other parts: right, if not as fast.
        with suppress(ValueError):
            return FastParts(net, dense_position, precision, compiled=compiled)
    return PublishedParts(net, dense_position, compiled=compiled)
