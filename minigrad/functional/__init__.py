"""Every differentiable operation. Each module holds forward and derivative side by side."""

from minigrad.functional.activation import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    logsigmoid,
    relu,
    softmax,
    softplus,
)
from minigrad.functional.convolution import conv2d, conv_transpose2d
from minigrad.functional.elementwise import sigmoid, tanh
from minigrad.functional.linear import embedding, linear
from minigrad.functional.normalization import batch_norm, group_norm, instance_norm, layer_norm
