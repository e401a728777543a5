"""A recurrent network that writes letter by letter: given the text so far, which character comes next?

    x_t one-hot (or an embedding)  ->  LSTM or GRU, one or more layers  ->  logits over characters  ->  cross-entropy with x_{t+1}

Training reads the text in some streams side by side, in chunks of `length` characters. The state at the end of a chunk is the
state at the start of the next one, so the network sees as far back as it can remember. But the gradient stops at the border
(truncated back-propagation through time): one step costs one chunk, not the whole text. `Chunks` cuts the text, `Carried` holds the
state between chunks; both can be saved, so a training resumes to the bit.

Weights start as in char-rnn (Karpathy 2015): U(-0.08, 0.08), and 1 for the bias of the LSTM's forget gate.

Imports: numpy, minigrad.
"""

from __future__ import annotations

import zlib

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.nn import init

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class CharRNN(nn.Module):
    """codes (N, T) and a state -> (logits (N, T, characters), the state after them).

    A state is a tuple of (layers, N, hidden): h and c of an LSTM, h of a GRU; None is zeros.
    embedding: numbers for a character, learned; 0 for one-hot. dropout: between layers and before the output, in training.
    """

    def __init__(self, characters: int, hidden=128, layers=2, cell="lstm", embedding=0, dropout=0.0, rng=None):
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"CharRNN: cell must be one of {', '.join(CELLS)}, got {cell!r}")
        self.characters, self.cell = characters, cell
        self.embedding = nn.Embedding(characters, embedding, rng=rng) if embedding else None
        self.recurrent = CELLS[cell](embedding or characters, hidden, layers, batch_first=True,
                                     dropout=dropout if layers > 1 else 0.0, rng=rng)
        self.drop = nn.Dropout(dropout, rng=rng)
        self.output = nn.Linear(hidden, characters, rng=rng)
        for name, parameter in self.named_parameters():
            init.uniform_(parameter, -0.08, 0.08, rng=rng)
            if cell == "lstm" and name.startswith("recurrent.bias_ih"):
                parameter.array[hidden : 2 * hidden] = 1  # gates i, f, g, o

    def forward(self, codes, state=None):
        if self.embedding is not None:
            x = self.embedding(codes)
        else:
            device = self.output.weight.device
            x = mg.tensor(np.eye(self.characters, dtype=np.float32)[np.asarray(codes)], device=device)
        if state is not None and self.cell == "gru":
            (state,) = state
        hidden, state = self.recurrent(x, state)
        return self.output(self.drop(hidden)), state if self.cell == "lstm" else (state,)


def loss_of(logits, targets):
    """Mean cross-entropy in nats per character: logits (N, T, characters), targets (N, T)."""
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), np.asarray(targets).reshape(-1))


# ---- the text in chunks


def side_by_side(codes: np.ndarray, batch: int) -> np.ndarray:
    """A text (N,) as `batch` streams (batch, n + 1), n = floor((N - 1) / batch): each ends with the first character of the next,
    so that every character but the first is a target once. The rest of the division is left out."""
    n = (len(codes) - 1) // batch
    if n < 1:
        raise ValueError(f"a text of {len(codes):,} characters is too short for {batch} streams")
    return np.lib.stride_tricks.sliding_window_view(codes, n + 1)[: n * batch : n]


class Chunks:
    """Streams (batch, n + 1) in chunks of `length`. `next()` gives (codes, the codes that follow, whether a pass over the text
    begins), both (batch, length); what does not fill a chunk at the end of a stream is left out."""

    def __init__(self, streams: np.ndarray, length: int):
        batch, n = len(streams), streams.shape[1] - 1
        if n < length:
            raise ValueError(f"{batch} streams of {n:,} characters do not fill a chunk of {length}; make batch or length smaller")
        self.inputs, self.targets = streams[:, :-1], streams[:, 1:]
        self.length, self.count, self.position = length, n // length, 0
        self.epoch = 0  # passes that are finished

    def __len__(self):
        return self.count

    def next(self):
        at, fresh = self.position * self.length, self.position == 0
        self.position += 1
        if self.position == self.count:
            self.position, self.epoch = 0, self.epoch + 1
        return self.inputs[:, at : at + self.length], self.targets[:, at : at + self.length], fresh

    def state_dict(self) -> dict:
        return {"position": self.position, "epoch": self.epoch, "length": self.length, "shape": list(self.inputs.shape),
                "text": zlib.crc32(np.ascontiguousarray(self.inputs))}

    def load_state_dict(self, state: dict) -> None:
        mine = self.state_dict()
        for key in ("length", "shape", "text"):
            if state[key] != mine[key]:
                raise ValueError(f"Chunks: the run read another text or cut it otherwise ({key} was {state[key]}, is {mine[key]}); "
                                 "resume with the text that it began with")
        self.position, self.epoch = state["position"], state["epoch"]


class Carried:
    """The state that one chunk hands to the next. `keep` cuts it off the graph: no gradient goes back over the border."""

    def __init__(self, device="cpu"):
        self.device, self.state = device, None

    def keep(self, state) -> None:
        self.state = tuple(part.detach() for part in state)

    def state_dict(self) -> dict:
        return {"state": [part.cpu().array for part in self.state or ()]}

    def load_state_dict(self, state: dict) -> None:
        self.state = tuple(mg.tensor(part, device=self.device) for part in state["state"]) or None


def evaluate(network, streams: np.ndarray, length: int = 200) -> float:
    """Mean loss in nats per character over streams (S, n + 1), in evaluation mode; the mode is restored. The state is carried from
    chunk to chunk; it begins with zeros in each stream."""
    inputs, targets = streams[:, :-1], streams[:, 1:]
    was, total, state = network.training, 0.0, None
    network.eval()
    with mg.no_grad():
        for at in range(0, inputs.shape[1], length):
            logits, state = network(inputs[:, at : at + length], state)
            total += loss_of(logits, targets[:, at : at + length]).item() * logits.shape[1]
    network.train(was)
    return total / inputs.shape[1]


# ---- writing


def encode(text: str, characters) -> np.ndarray:
    """Codes (len(text),) of a text. ValueError that names the characters which the network has never seen."""
    number = {character: i for i, character in enumerate(characters)}
    unknown = sorted(set(text) - set(number))
    if unknown:
        raise ValueError(f"the network does not know {', '.join(map(repr, unknown))}; it has seen only: "
                         + "".join(characters).replace("\n", "\\n"))
    return np.array([number[character] for character in text], np.int64)


def choose(logits: np.ndarray, temperature: float, top_k: int | None, u: np.ndarray) -> np.ndarray:
    """The next code of each row: logits (N, characters), u (N,) uniform in [0, 1) and float32 -> (N,).

    Drawn from softmax(logits / temperature) over the `top_k` likeliest characters (None: all). Temperature 0 takes the likeliest.
    """
    if not temperature >= 0:
        raise ValueError(f"the temperature must be at least 0, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]  # likeliest first
    if temperature == 0:
        return order[:, 0]
    ranked = np.take_along_axis(logits, order, 1).astype(np.float64)
    weights = np.exp((ranked - ranked[:, :1]) / temperature)
    reached = np.cumsum(weights, axis=1)
    rank = (reached <= np.asarray(u, np.float64)[:, None] * reached[:, -1:]).sum(1)  # below the last one, as u <= 1 - 2^-24
    return np.take_along_axis(order, rank[:, None], 1)[:, 0]


def write(network, prompt: np.ndarray, length: int, count: int = 1, *, temperature=1.0, top_k=None, rng) -> np.ndarray:
    """`count` continuations (count, length) of a prompt (codes, at least one), each drawn on its own, in evaluation mode."""
    if len(prompt) < 1:
        raise ValueError("write: the prompt needs at least one character")
    was, written = network.training, np.empty((count, length), np.int64)
    network.eval()
    with mg.no_grad():
        logits, state = network(np.broadcast_to(prompt, (count, len(prompt))))
        for t in range(length):
            written[:, t] = choose(logits.cpu().array[:, -1], temperature, top_k, rng.uniform(size=count))
            logits, state = network(written[:, t : t + 1], state)
    network.train(was)
    return written
