"""Recurrent layers: RNN, LSTM, GRU over sequences, and RNNCell, LSTMCell, GRUCell for one step.

Parameters are named as PyTorch's: weight_ih_l0 (gates*H, in), weight_hh_l0 (gates*H, H), bias_ih_l0, bias_hh_l0, then
the same with _reverse, then l1 ... All start as U(-b, b) with b = 1/sqrt(hidden_size). Equations stand in
`minigrad.functional.recurrent`.

Imports: minigrad.functional, minigrad.random, init, linear, module.
"""

from __future__ import annotations

import math
import warnings

from minigrad import functional as F
from minigrad.functional.common import flag, integer
from minigrad.nn import init
from minigrad.nn.linear import zero_parameter
from minigrad.nn.module import Module
from minigrad.random import as_stream


def _uniform(layer, rng) -> None:
    bound, rng = 1 / math.sqrt(layer.hidden_size), as_stream(rng)
    for parameter in layer.parameters():
        init.uniform_(parameter, -bound, bound, rng=rng)


def _nonlinearity(name, value) -> str:
    if value not in ("tanh", "relu"):
        raise ValueError(f"{name}: nonlinearity must be 'tanh' or 'relu', got {value!r}")
    return value


# ---- sequences -------------------------------------------------------------------------------------------------------


class _Recurrent(Module):
    """forward(input, hx=None) -> (output, final states); input (T, N, in), (N, T, in) if batch_first, or (T, in)."""

    _gates = 1

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, device=None, dtype=None, *, rng=None):
        super().__init__()
        name = type(self).__name__
        self.input_size = integer(f"{name}: input_size", input_size, 1)
        self.hidden_size = integer(f"{name}: hidden_size", hidden_size, 1)
        self.num_layers = integer(f"{name}: num_layers", num_layers, 1)
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout must be a probability in [0, 1], got {dropout!r}")
        if dropout and num_layers == 1:
            warnings.warn(f"{name}: dropout={dropout} acts between layers, and there is only one", stacklevel=3)
        self.bias, self.batch_first = flag(f"{name}: bias", bias), flag(f"{name}: batch_first", batch_first)
        self.bidirectional = flag(f"{name}: bidirectional", bidirectional)
        self.dropout, self.rng = float(dropout), as_stream(rng)
        self._names = []
        for k in range(self.num_layers):
            for suffix in ("", "_reverse")[: 1 + bool(bidirectional)]:
                before = self.input_size if k == 0 else self.hidden_size * (1 + bool(bidirectional))
                shapes = {"weight_ih": (before,), "weight_hh": (self.hidden_size,)}
                shapes.update({"bias_ih": (), "bias_hh": ()} if bias else {})
                for kind, rest in shapes.items():
                    self._names.append(f"{kind}_l{k}{suffix}")
                    setattr(self, self._names[-1], zero_parameter((self._gates * self.hidden_size, *rest), dtype, device))
        self.reset_parameters(self.rng)

    def reset_parameters(self, rng=None) -> None:
        """Draw the initial values anew."""
        _uniform(self, rng)

    def forward(self, input, hx=None):
        params = [getattr(self, name) for name in self._names]
        return self._function(input, hx, params, self.bias, self.num_layers, self.dropout, self.training,
                              self.bidirectional, self.batch_first, rng=self.rng)

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0),
                              ("bidirectional", False)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(_Recurrent):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu with nonlinearity='relu' (Elman 1990).

    forward(input, h_0=None) -> (output (T, N, directions*H), h_n (layers*directions, N, H)). dropout acts between
    layers, in training, drawn from `rng`.
    """

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False,
                 dropout=0.0, bidirectional=False, device=None, dtype=None, *, rng=None):
        nonlinearity = _nonlinearity("RNN", nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype,
                         rng=rng)
        self.nonlinearity = nonlinearity

    @property
    def _function(self):
        return F.rnn_tanh if self.nonlinearity == "tanh" else F.rnn_relu


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with forget gates); gates in the order i, f, g, o.

    forward(input, (h_0, c_0)=None) -> (output, (h_n, c_n)); the rest as RNN. proj_size other than 0 is not supported.
    """

    _gates = 4

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, proj_size=0, device=None, dtype=None, *, rng=None):
        if proj_size:
            raise ValueError(f"LSTM: proj_size is not supported, got {proj_size}; leave it 0 and add an nn.Linear")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype,
                         rng=rng)

    @property
    def _function(self):
        return F.lstm


class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al. 2014, with the reset gate behind the product); gates in the order r, z, n.

    Arguments and results as RNN's.
    """

    _gates = 3

    @property
    def _function(self):
        return F.gru


# ---- single steps ----------------------------------------------------------------------------------------------------


class _Cell(Module):
    _gates = 1

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None, *, rng=None):
        super().__init__()
        name = type(self).__name__
        self.input_size = integer(f"{name}: input_size", input_size, 1)
        self.hidden_size = integer(f"{name}: hidden_size", hidden_size, 1)
        self.bias, rows = flag(f"{name}: bias", bias), self._gates * self.hidden_size
        self.weight_ih = zero_parameter((rows, self.input_size), dtype, device)
        self.weight_hh = zero_parameter((rows, self.hidden_size), dtype, device)
        self.register_parameter("bias_ih", zero_parameter((rows,), dtype, device) if bias else None)
        self.register_parameter("bias_hh", zero_parameter((rows,), dtype, device) if bias else None)
        self.reset_parameters(rng)

    def reset_parameters(self, rng=None) -> None:
        """Draw the initial values anew."""
        _uniform(self, rng)

    def forward(self, input, hx=None):
        return self._function(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def extra_repr(self):
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of RNN: input (N, in) or (in,), h (N, H) or (H,) or None -> h'."""

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None, *, rng=None):
        nonlinearity = _nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, device, dtype, rng=rng)
        self.nonlinearity = nonlinearity

    @property
    def _function(self):
        return F.rnn_tanh_cell if self.nonlinearity == "tanh" else F.rnn_relu_cell

    def extra_repr(self):
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTMCell(_Cell):
    """One step of LSTM: input (N, in), (h, c) or None -> (h', c')."""

    _gates = 4

    @property
    def _function(self):
        return F.lstm_cell


class GRUCell(_Cell):
    """One step of GRU: input (N, in), h or None -> h'."""

    _gates = 3

    @property
    def _function(self):
        return F.gru_cell
