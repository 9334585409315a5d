"""Depth-wise convolutions of the shipped network: the quick gradient is the gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rsov.models.bundled.depthwise import DepthwiseConv2d


def gradients(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    y.float().square().sum().backward()
    assert x.grad is not None
    weight = next(module.parameters())
    assert weight.grad is not None
    return y.detach().float(), x.grad, weight.grad


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_values_and_gradients_are_those_of_the_library_in_full_precision(kernel: int, stride: int) -> None:
    torch.manual_seed(kernel + stride)
    quick = DepthwiseConv2d(8, kernel, stride)
    x = torch.randn(2, 8, 17, 20)
    plain = nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8, bias=False)
    plain.load_state_dict(quick.state_dict())
    exact = copy.deepcopy(plain)
    x2 = x.clone().requires_grad_()
    y2 = exact(x2)
    y2.square().sum().backward()
    found = gradients(quick.train(), x)
    for got, wanted in zip(found, (y2, x2.grad, exact.weight.grad), strict=True):
        assert wanted is not None
        assert (got - wanted).abs().max() < 0.02 * wanted.abs().max()
    for got, wanted in zip(found, gradients(plain, x), strict=True):
        assert (got - wanted).abs().max() < 0.02 * wanted.abs().max()
