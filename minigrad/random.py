"""Named, seedable, serialisable streams of random numbers, and one default stream for calls to which none is handed.

A `Stream` is a counter-based generator (Philox 4x64) whose 128-bit key is the first half of SHA-256 of the seed and the
name. Hence:
- the same (seed, name) gives the same numbers in every process and on every machine with the same NumPy, whatever
  PYTHONHASHSEED is and however many other streams exist or have been drawn from;
- two names never share numbers, so adding dropout to a model does not change the order of its data;
- the state is a handful of integers: `state_dict()` is JSON-able and restores to the bit.

`Streams(seed)` holds the streams of one run by name. Functions that draw take `rng=None` and hand it to `as_stream`. None is the
default stream: there is one in each process, which begins from the operating system's entropy, or at a known place after
`manual_seed(seed)`. It is shared by all threads. One draw is never torn apart by another thread, but which thread draws first is
up to the threads: what must be reproducible there gets a Stream of its own. Nothing here touches NumPy's or Python's global state.
Philox: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

Imports: numpy.
"""

from __future__ import annotations

import hashlib
import operator
import secrets

import numpy as np

__all__ = ["Generator", "Stream", "Streams", "as_stream", "default_generator", "get_rng_state", "initial_seed", "manual_seed",
           "set_rng_state"]


class Stream:
    """An independent stream of random numbers, keyed by SHA-256 of (seed, name).

    seed: any integer, or None for 128 bits from the operating system (then not reproducible, but `.seed` tells it).
    name: any string. The NumPy Generator itself is `.generator`.
    Arrays are NumPy arrays. A `size` is an integer, a tuple, or None for one number.
    """

    def __init__(self, seed: int | None = None, name: str = ""):
        if seed is None:
            seed = secrets.randbits(128)
        self.seed = _integer(seed, "Stream: seed")
        if not isinstance(name, str):
            raise TypeError(f"Stream: name must be a string, got {name!r}")
        self.name = name
        self.generator = np.random.Generator(np.random.Philox(key=_key(self.seed, name)))

    def __repr__(self):
        return f"Stream(seed={self.seed}, name={self.name!r})"

    def child(self, name: str) -> Stream:
        """The stream called "<this name>/<name>" of the same seed. What was drawn from this one does not matter."""
        if self.seed is None:
            raise ValueError("Stream.child: a stream around a foreign numpy Generator has no seed; "
                             "make one with Stream(seed)")
        return Stream(self.seed, f"{self.name}/{name}")

    # ---- draws

    def normal(self, size=None, dtype=np.float32, *, mean=0.0, std=1.0):
        """Normal numbers, drawn in `dtype` (float32 or float64) itself. mean and std are numbers."""
        dtype = _floating(dtype, "normal")
        out = self.generator.standard_normal(size, dtype=dtype)
        return out if mean == 0.0 and std == 1.0 else _affine(out, dtype, std, mean)

    def uniform(self, low=0.0, high=1.0, size=None, dtype=np.float32):
        """Uniform numbers in [low, high), drawn in `dtype` (float32 or float64). `high` itself never comes out, not
        even by rounding, unless low == high."""
        dtype = _floating(dtype, "uniform")
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise ValueError(f"uniform: needs finite low <= high, got low={low}, high={high}")
        out = self.generator.random(size, dtype=dtype)
        if low == 0.0 and high == 1.0:
            return out
        out = _affine(out, dtype, high - low, low)
        low, high = dtype.type(low), dtype.type(high)
        return np.clip(out, low, max(low, np.nextafter(high, low)))[()]

    def integers(self, low, high=None, size=None, dtype=np.int64):
        """Integers in [low, high); with one bound, in [0, low)."""
        return self.generator.integers(low, high, size, dtype=dtype)

    def permutation(self, n):
        """A random order of 0 .. n-1 as int64, or of the rows of an array."""
        return self.generator.permutation(n)

    def bernoulli(self, p, size=None, dtype=np.bool_):
        """True (or 1 in `dtype`) with probability p, rounded up to the next 2**-24; p = 0 and p = 1 are certain.
        p is a number or an array that broadcasts against `size`."""
        probability = np.asarray(p, np.float64)
        if not np.all((probability >= 0) & (probability <= 1)):
            raise ValueError(f"bernoulli: p must lie in [0, 1], got {p!r}")
        if size is None:
            size = probability.shape or None
        # float32 draws are k / 2**24, and k < 2**24 p  <=>  k < ceil(2**24 p), which float32 holds exactly
        threshold = (np.ceil(probability * 2**24) / 2**24).astype(np.float32)
        mask = np.less(self.generator.random(size, dtype=np.float32), threshold)
        return mask if dtype is np.bool_ or dtype is bool else mask.astype(dtype)[()]

    # ---- state

    def state_dict(self) -> dict:
        """Everything that is needed to go on from here: seed, name and position, in Python integers and strings."""
        return {"seed": self.seed, "name": self.name, "state": _plain(self.generator.bit_generator.state)}

    def load_state_dict(self, state: dict) -> None:
        """Go on exactly where `state` was taken. The name must agree; the seed is taken over.

        Raises ValueError when the state belongs to another stream or was tampered with, and then changes nothing."""
        try:
            seed, name, inner = state["seed"], state["name"], state["state"]
            kind = inner["bit_generator"]
        except (KeyError, TypeError, IndexError):
            raise ValueError("Stream.load_state_dict: not the state of a Stream (needs seed, name, state)") from None
        if name != self.name:
            raise ValueError(f"Stream.load_state_dict: the state is of stream {name!r}, this one is {self.name!r}")
        mine = self.generator.bit_generator
        if kind != type(mine).__name__:
            raise ValueError(f"Stream.load_state_dict: the state is of a {kind} generator, "
                             f"this one is {type(mine).__name__}")
        try:
            fresh = type(mine)()
            fresh.state = _arrays(inner)
            if kind == "Philox" and seed is not None:
                seed = _integer(seed, "Stream.load_state_dict: seed")
                if list(inner["state"]["key"]) != _key(seed, name).tolist():
                    raise ValueError("its key is not the key of its seed and name")
                if inner["buffer_pos"] not in range(5) or inner["has_uint32"] not in (0, 1):
                    raise ValueError("its position is out of range")
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"Stream.load_state_dict: the state of {name!r} is damaged: {error}") from None
        self.seed = seed
        mine.state = fresh.state


class Streams:
    """The streams of one run: `streams["init"]` makes or returns `Stream(seed, "init")`."""

    def __init__(self, seed: int):
        self.seed = _integer(seed, "Streams: seed")
        self._streams: dict[str, Stream] = {}

    def __repr__(self):
        return f"Streams(seed={self.seed}, {sorted(self._streams)})"

    def __getitem__(self, name: str) -> Stream:
        if name not in self._streams:
            self._streams[name] = Stream(self.seed, name)
        return self._streams[name]

    def __iter__(self):
        return iter(tuple(self._streams))

    def __len__(self):
        return len(self._streams)

    def __contains__(self, name):
        return name in self._streams

    def state_dict(self) -> dict:
        """JSON-able state of all streams asked for so far."""
        return {"seed": self.seed, "streams": {name: stream.state_dict() for name, stream in self._streams.items()}}

    def load_state_dict(self, state: dict) -> None:
        """Put every stream where `state` says. This happens in place, so a Stream that was handed out before goes on from there.
        A stream that is missing in the state had not been drawn from at that time; it goes back to its beginning."""
        try:
            seed, states = state["seed"], dict(state["streams"])
        except (KeyError, TypeError, ValueError):
            raise ValueError("Streams.load_state_dict: not the state of Streams (needs seed, streams)") from None
        fresh = Streams(seed)
        for name, inner in states.items():
            fresh[name].load_state_dict(inner)
        self.seed = fresh.seed
        for name in (*self._streams, *states):
            self[name].seed = fresh.seed
            self[name].generator.bit_generator.state = fresh[name].generator.bit_generator.state


class Generator(Stream):
    """PyTorch's Generator: a Stream that can be sent back to a beginning, as in Generator().manual_seed(0).

    device: 'cpu'; on a GPU numbers are drawn here and copied there, so they are the same.
    """

    def __init__(self, device="cpu"):
        super().__init__(None, "generator")

    def manual_seed(self, seed: int) -> Generator:
        """Go to the beginning of the numbers of `seed`, in place; returns self."""
        fresh = Stream(seed, self.name)
        self.seed = fresh.seed
        self.generator.bit_generator.state = fresh.generator.bit_generator.state
        return self

    def initial_seed(self) -> int:
        """The seed."""
        return self.seed

    def get_state(self) -> dict:
        """The same as state_dict()."""
        return self.state_dict()

    def set_state(self, state: dict) -> None:
        """The same as load_state_dict(state)."""
        self.load_state_dict(state)


class _Default(Generator):
    """The default stream. Who holds it, and whoever copies a holder, holds the one that `manual_seed` seeds."""

    def __init__(self):
        super().__init__()
        self.name = "default"
        self.manual_seed(self.seed)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return "default_generator"


def manual_seed(seed: int) -> Generator:
    """Send the default stream to the beginning of the numbers of `seed`, and return it.

    After it, initial values, dropout and random tensors made without rng= are the same in every process. Streams that were made
    with a seed are not touched.
    """
    return default_generator.manual_seed(seed)


def initial_seed() -> int:
    """The seed of the default stream."""
    return default_generator.seed


def get_rng_state() -> dict:
    """Where the default stream is; JSON-able."""
    return default_generator.state_dict()


def set_rng_state(state: dict) -> None:
    """Put the default stream where `get_rng_state` found it."""
    default_generator.load_state_dict(state)


def as_stream(rng=None) -> Stream:
    """The Stream that an argument `rng` stands for. A Stream is returned as it is. A numpy Generator is wrapped: its numbers and
    position stay its own. None is the default stream."""
    if isinstance(rng, Stream):
        return rng
    if rng is None:
        return default_generator
    if isinstance(rng, np.random.Generator):
        stream = Stream.__new__(Stream)
        stream.seed, stream.name, stream.generator = None, "numpy", rng
        return stream
    raise TypeError(f"rng must be a minigrad.random.Stream, a numpy Generator or None, got {type(rng).__name__}; "
                    "make one with Stream(seed, name)")


def _key(seed: int, name: str) -> np.ndarray:
    # the digits end at the first NUL, so (seed, name) -> text is one-to-one for any name
    text = f"{seed:x}\0".encode() + name.encode("utf-8", "surrogatepass")
    return np.frombuffer(hashlib.sha256(text).digest()[:16], "<u8").astype(np.uint64)


def _integer(value, what: str) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what} must be an integer, got {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{what} must be an integer, got {value!r}") from None


def _floating(dtype, function: str) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{function}: dtype must be float32 or float64, got {dtype}")
    return dtype


def _affine(x, dtype, scale, shift):
    if isinstance(x, np.ndarray):
        np.multiply(x, dtype.type(scale), out=x)
        return np.add(x, dtype.type(shift), out=x)
    return dtype.type(x) * dtype.type(scale) + dtype.type(shift)


def _plain(state):
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        return state.tolist()
    return int(state) if isinstance(state, np.integer) else state


def _arrays(state):
    if isinstance(state, dict):
        return {key: _arrays(value) for key, value in state.items()}
    return np.array(state, np.uint64) if isinstance(state, (list, tuple)) else state


default_generator = _Default()
