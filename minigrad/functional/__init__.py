"""Every differentiable operation. Each module holds forward and derivative side by side."""

from minigrad.absent import missing as _missing
from minigrad.functional.activation import (
    dropout,
    dropout2d,
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
from minigrad.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_similarity,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    normalize,
    one_hot,
    smooth_l1_loss,
)
from minigrad.functional.normalization import batch_norm, group_norm, instance_norm, layer_norm
from minigrad.functional.one_axis import (
    adaptive_avg_pool1d,
    adaptive_max_pool1d,
    avg_pool1d,
    conv1d,
    conv_transpose1d,
    max_pool1d,
)
from minigrad.functional.pooling import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
from minigrad.functional.rare_activations import (
    alpha_dropout,
    celu,
    glu,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    mish,
    prelu,
    relu6,
    selu,
    silu,
    softmin,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
)
from minigrad.functional.rare_losses import (
    bilinear,
    cosine_embedding_loss,
    gaussian_nll_loss,
    hinge_embedding_loss,
    local_response_norm,
    margin_ranking_loss,
    pairwise_distance,
    poisson_nll_loss,
    soft_margin_loss,
    triplet_margin_loss,
)
from minigrad.functional.rearrange import fold, pad, pixel_shuffle, pixel_unshuffle, unfold
from minigrad.functional.recurrent import (
    gru,
    gru_cell,
    lstm,
    lstm_cell,
    rnn_relu,
    rnn_relu_cell,
    rnn_tanh,
    rnn_tanh_cell,
)
from minigrad.functional.sampling import affine_grid, grid_sample, interpolate


def __getattr__(name):
    raise _missing("minigrad.functional", name)
