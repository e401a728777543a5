"""dtypes under PyTorch's names, and the constructors that carry them: FloatTensor, LongTensor, ...

A dtype is NumPy's own: `x.dtype == minigrad.float32` and `x.array.dtype == np.float32` are one question.

| name | is |
|---|---|
| float, float32 | float32, the default |
| double, float64 | float64, for checking derivatives |
| long, int64; int, int32; short, int16; int8; uint8; bool | the integers and the truth values of that width |
| half, float16, bfloat16, complex64, ... | absent: nothing computes in them |

Imports: numpy, conversion, devices, tensor.
"""

from __future__ import annotations

import builtins

import numpy as np

from minigrad.conversion import KINDS
from minigrad.devices import device_name
from minigrad.tensor import Tensor, float32, float64, int64, tensor_of

float, double = float32, float64
long, int, int32 = int64, np.dtype(np.int32), np.dtype(np.int32)
short, int16, int8, uint8 = np.dtype(np.int16), np.dtype(np.int16), np.dtype(np.int8), np.dtype(np.uint8)


class TensorType:
    """FloatTensor(2, 3), LongTensor([1, 2]): `Tensor(...)` in one dtype. isinstance(x, LongTensor) asks for the dtype and device.

    As in PyTorch, sizes make a tensor of that size (zeros here) and a list, array or Tensor is converted.
    """

    def __init__(self, name: str, dtype, device: str = "cpu"):
        self.name, self.dtype, self.device = name, dtype, device

    def __repr__(self) -> str:
        return f"<minigrad.{'cuda.' if self.device == 'cuda' else ''}{self.name}>"

    def __call__(self, *data, device=None, requires_grad=False) -> Tensor:
        return tensor_of(data, self.dtype, self.device if device is None else device_name(device), requires_grad)

    def __instancecheck__(self, x) -> builtins.bool:
        return isinstance(x, Tensor) and x.dtype == self.dtype and x.device.type == self.device


NAMES = {f"{name}Tensor": np.dtype(dtype) for dtype, name in KINDS.items()}
FloatTensor, DoubleTensor, LongTensor, IntTensor, ShortTensor, CharTensor, ByteTensor, BoolTensor = (
    TensorType(*pair) for pair in NAMES.items())
