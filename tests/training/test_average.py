"""The moving average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_medsam2.training.average import Average


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))


def test_it_moves_by_what_the_decay_leaves() -> None:
    net = network()
    weight = net[0].weight
    average = Average(net, [weight])
    first = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    average.update(0.75)
    torch.testing.assert_close(average.weights()["0.weight"], first + 0.25)
    average.update(0.75)
    torch.testing.assert_close(average.weights()["0.weight"], first + 0.25 + 0.75 * 0.25)


def test_only_what_is_learnt_is_averaged() -> None:
    net = network()
    average = Average(net, list(net[1].parameters()))
    assert set(average.weights()) == {"1.weight", "1.bias"}


def test_it_takes_the_place_of_the_weights_for_a_while() -> None:
    net = network()
    average = Average(net, list(net.parameters()))
    before = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight.mul_(3.0)
    learnt = net[0].weight.detach().clone()
    with average.in_place():
        torch.testing.assert_close(net[0].weight.detach(), before)
    torch.testing.assert_close(net[0].weight.detach(), learnt, rtol=0, atol=0)


def test_the_weights_come_back_even_after_an_error() -> None:
    net = network()
    average = Average(net, list(net.parameters()))
    with torch.no_grad():
        net[0].weight.mul_(3.0)
    learnt = net[0].weight.detach().clone()
    with pytest.raises(ZeroDivisionError), average.in_place():
        raise ZeroDivisionError
    torch.testing.assert_close(net[0].weight.detach(), learnt, rtol=0, atol=0)


def test_copies_do_not_change_with_the_network() -> None:
    net = network()
    average = Average(net, list(net.parameters()))
    kept, present = average.weights(), average.present()
    with torch.no_grad():
        net[0].weight.add_(1.0)
    average.update(0.5)
    torch.testing.assert_close(kept["0.weight"], present["0.weight"])
    assert not torch.equal(kept["0.weight"], average.weights()["0.weight"])


def test_it_goes_back_to_what_a_checkpoint_holds() -> None:
    net, other = network(), network()
    average = Average(net, list(net.parameters()))
    with torch.no_grad():
        net[0].weight.add_(1.0)
    average.update(0.5)
    copy = Average(other, list(other.parameters()))
    copy.restore(average.weights(), average.present())
    for name, value in average.weights().items():
        assert torch.equal(copy.weights()[name], value)
    assert torch.equal(other[0].weight, net[0].weight)
    copy.put(copy.weights())
    assert torch.equal(other[0].weight, average.weights()["0.weight"])
