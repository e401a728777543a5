"""Layers and networks: `Module`, every layer under PyTorch's name, `init`.

Layers that draw numbers take `rng=`: a `minigrad.random.Stream` or numpy Generator; None is the default stream, which
`minigrad.random.manual_seed` seeds.
"""

from minigrad.nn import init
from minigrad.nn.activation import (
    ELU,
    GELU,
    Dropout,
    Dropout2d,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from minigrad.nn.container import Identity, ModuleDict, ModuleList, Residual, Sequential
from minigrad.nn.convolution import Conv2d, ConvTranspose2d
from minigrad.nn.linear import Embedding, Linear
from minigrad.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from minigrad.nn.module import Module, Parameter
from minigrad.nn.normalization import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm
from minigrad.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from minigrad.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from minigrad.nn.shape import (
    CircularPad2d,
    ConstantPad2d,
    Flatten,
    PixelShuffle,
    PixelUnshuffle,
    ReflectionPad2d,
    ReplicationPad2d,
    Unflatten,
    Upsample,
    ZeroPad2d,
)
