"""torch.nn.utils by name: limits on gradients, weights computed from others, parameters as one vector, sequences of one length."""

from minigrad.absent import missing as _missing
from minigrad.nn.utils import rnn
from minigrad.nn.utils.clip import clip_grad_norm_, clip_grad_value_
from minigrad.nn.utils.derived import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm
from minigrad.nn.utils.vector import parameters_to_vector, vector_to_parameters

clip_grad_norm = clip_grad_norm_  # the old name


def __getattr__(name):
    raise _missing("minigrad.nn.utils", name)
