"""Depth-wise convolution whose gradient is quick on a CPU.

oneDNN has no fast bfloat16 kernel for the gradients of depth-wise convolutions other than 3x3 with stride 1:
they took half of a training step. In float32 they take a fifth of that time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Float32Gradient(torch.autograd.Function):
    """Forward in the given number type, both gradients in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        padding = [weight.shape[-1] // 2] * 2
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            *(t.float() for t in (grads[0], x, weight)),
            None,
            [ctx.stride] * 2,
            padding,
            [1, 1],
            False,
            [0, 0],
            len(weight),
            [True, True, False],
        )
        return of_x.to(x.dtype), of_weight.to(weight.dtype), None


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with a filter per channel, odd square kernel, no bias; same parameters, same values."""

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """X [B, C, H, W] -> [B, C, H / stride, W / stride]."""
        slow = self.kernel_size[0] > 3 or self.stride[0] > 1
        if not (slow and self.training and torch.is_autocast_enabled("cpu")):
            return super().forward(x)
        kind = torch.get_autocast_dtype("cpu")
        y: Tensor = _Float32Gradient.apply(x.to(kind), self.weight.to(kind), self.stride[0])  # type: ignore[no-untyped-call]  # torch
        return y
