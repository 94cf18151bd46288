"""Losses against values worked out by hand and by torchvision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_medsam2.training.losses import (
    Weights,
    best_losses,
    dice_loss,
    focal_loss,
    mask_losses,
    overlap,
)


def test_the_focal_loss_is_that_of_torchvision() -> None:
    ops = pytest.importorskip("torchvision.ops")
    torch.manual_seed(0)
    logits, truth = 3 * torch.randn(4, 9, 7), (torch.rand(4, 9, 7) < 0.3).float()
    wanted = ops.sigmoid_focal_loss(logits, truth, alpha=0.25, gamma=2.0).mean((1, 2))
    torch.testing.assert_close(focal_loss(logits, truth), wanted)


def test_the_focal_loss_by_hand() -> None:
    # At logit 0 every pixel is half right: -log(1/2), times (1/2)^2, times alpha.
    truth = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    wanted = math.log(2) * 0.25 * (0.25 + 3 * 0.75) / 4
    assert focal_loss(torch.zeros(1, 1, 4), truth).item() == pytest.approx(wanted)


def test_the_dice_loss_by_hand() -> None:
    truth = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    # Half of each pixel: both 1, together 2 + 2; one is added above and below.
    assert dice_loss(torch.zeros(1, 1, 4), truth).item() == pytest.approx(1 - 3 / 5)
    right = torch.tensor([[[50.0, 50.0, -50.0, -50.0]]])
    assert dice_loss(right, truth).item() == pytest.approx(0, abs=1e-6)


def test_the_overlap_counts_pixels_above_zero() -> None:
    logits = torch.tensor([[[1.0, 2.0, -1.0, -3.0]], [[-1.0, -1.0, -1.0, -1.0]]])
    truth = torch.tensor([[[0.0, 1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]])
    np.testing.assert_allclose(overlap(logits, truth).numpy(), [1 / 3, 0])


def test_the_sum_is_weighted() -> None:
    torch.manual_seed(1)
    logits, ious, scores = torch.randn(3, 5, 5), torch.rand(3), torch.randn(3)
    truth = (torch.rand(3, 5, 5) < 0.5).float()
    weights = Weights(focal=3.0, dice=5.0, iou=7.0, presence=11.0)
    parts = mask_losses(logits, ious, scores, truth, weights)
    wanted = 3 * parts["focal"] + 5 * parts["dice"] + 7 * parts["iou"] + 11 * parts["presence"]
    torch.testing.assert_close(parts["loss"], wanted)
    torch.testing.assert_close(parts["focal"], focal_loss(logits, truth).mean())
    torch.testing.assert_close(parts["iou"], ((ious - overlap(logits, truth)) ** 2).mean())


def test_an_absent_object_costs_little_for_its_mask_and_nothing_for_dice() -> None:
    logits = torch.zeros(2, 4, 4)
    truth = torch.zeros(2, 4, 4)
    truth[0, :2] = 1
    scores = torch.tensor([20.0, -20.0])
    parts = mask_losses(logits, torch.zeros(2), scores, truth)
    focal = focal_loss(logits, truth)
    assert parts["focal"].item() == pytest.approx((focal[0] + 0.3 * focal[1]).item() / 2)
    assert parts["dice"].item() == pytest.approx(dice_loss(logits, truth)[0].item() / 2)
    # Both are right about whether the object is there.
    assert parts["presence"].item() == pytest.approx(0, abs=1e-6)
    wrong = mask_losses(logits, torch.zeros(2), -scores, truth)
    assert wrong["presence"].item() == pytest.approx(20)


def test_a_frame_without_the_object_can_be_learnt() -> None:
    scores = torch.zeros(1, requires_grad=True)
    parts = mask_losses(torch.zeros(1, 4, 4), torch.zeros(1), scores, torch.zeros(1, 4, 4))
    parts["loss"].backward()
    assert scores.grad is not None
    assert scores.grad.item() > 0  # going down the gradient lowers the score


def test_of_several_masks_the_best_one_learns() -> None:
    truth = torch.zeros(1, 4, 4)
    truth[:, :2] = 1
    right, wrong = truth * 8 - 4, 4 - truth * 8
    logits = torch.stack([wrong, right, wrong], dim=1).requires_grad_()
    ious = torch.tensor([[0.5, 0.5, 0.5]], requires_grad=True)
    parts = best_losses(logits, ious, torch.ones(1), truth)
    parts["loss"].backward()
    assert logits.grad is not None
    assert ious.grad is not None
    touched = logits.grad.abs().sum((0, 2, 3)) > 0
    assert touched.tolist() == [False, True, False]
    # The true overlaps are 0, 1, 0: all three expectations are wrong by a half, in their own way.
    assert parts["iou"].item() == pytest.approx(0.25)
    assert torch.sign(ious.grad).tolist() == [[1, -1, 1]]
    alone = mask_losses(right, torch.tensor([0.5]), torch.ones(1), truth)
    torch.testing.assert_close(parts["loss"], alone["loss"])


def test_one_mask_is_the_best_of_one() -> None:
    torch.manual_seed(2)
    logits, ious, scores = torch.randn(3, 1, 5, 5), torch.rand(3, 1), torch.randn(3)
    truth = (torch.rand(3, 5, 5) < 0.5).float()
    some = best_losses(logits, ious, scores, truth)
    same = mask_losses(logits[:, 0], ious[:, 0], scores, truth)
    for name, value in same.items():
        torch.testing.assert_close(some[name], value)
