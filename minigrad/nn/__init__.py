"""Layers and networks: `Module`, every layer under PyTorch's name, `init`.

Layers that draw numbers take `rng=`: a `minigrad.random.Stream` or numpy Generator; None is the default stream, which
`minigrad.random.manual_seed` seeds.
"""

from minigrad.absent import missing as _missing
from minigrad.nn import functional, init, utils
from minigrad.nn.activation import (
    ELU,
    GELU,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softmin,
    Softplus,
    Tanh,
)
from minigrad.nn.container import Identity, ModuleDict, ModuleList, ParameterDict, ParameterList, Residual, Sequential
from minigrad.nn.convolution import Conv2d, ConvTranspose2d
from minigrad.nn.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d
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
from minigrad.nn.normalization import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm1d, InstanceNorm2d, LayerNorm
from minigrad.nn.one_axis import (
    AdaptiveAvgPool1d,
    AdaptiveMaxPool1d,
    AvgPool1d,
    ConstantPad1d,
    Conv1d,
    ConvTranspose1d,
    MaxPool1d,
    ReflectionPad1d,
    ReplicationPad1d,
    ZeroPad1d,
)
from minigrad.nn.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d
from minigrad.nn.rare_activations import (
    CELU,
    GLU,
    SELU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Mish,
    PReLU,
    ReLU6,
    SiLU,
    Softmax2d,
    Softshrink,
    Softsign,
    Tanhshrink,
    Threshold,
)
from minigrad.nn.rare_losses import (
    Bilinear,
    CosineEmbeddingLoss,
    CosineSimilarity,
    GaussianNLLLoss,
    HingeEmbeddingLoss,
    HuberLoss,
    LocalResponseNorm,
    MarginRankingLoss,
    PairwiseDistance,
    PoissonNLLLoss,
    SoftMarginLoss,
    TripletMarginLoss,
)
from minigrad.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from minigrad.nn.shape import (
    CircularPad2d,
    ConstantPad2d,
    Flatten,
    Fold,
    PixelShuffle,
    PixelUnshuffle,
    ReflectionPad2d,
    ReplicationPad2d,
    Unflatten,
    Unfold,
    Upsample,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
    ZeroPad2d,
)


def __getattr__(name):
    raise _missing("minigrad.nn", name)
