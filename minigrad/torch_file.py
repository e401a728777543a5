"""PyTorch's files of weights (`torch.save`: `.pth`, `.pt`, `.bin`), read without PyTorch and without running anything.

Such a file is a pickle, a small program for a machine with a stack, and the numbers beside it. `_Machine` knows the few
operations that plain data needs and calls nothing: what the program names is compared with a list of names (`STORAGES`,
`DTYPES`, `CALLS`), and a tensor is put down as a note of where its numbers stand. Only when the program has ended, and
every size, offset and stride was held against the file, are the numbers read.

- Taken: tensors and parameters, dicts (ordered ones, too), lists, tuples, int, float, str, bool and None.
  Anything else is refused by its name: whole modules, NumPy arrays, sets, functions, sparse or quantised tensors.
- Both formats: the zip of PyTorch 1.6 and later, whose CRC-32s are compared, and the older one, which has no checksum, so
  that there a changed number cannot be seen.
- All tensors together may be 64 times as large as the file (and 16 MiB): strides of 0 could name more than there is.

Format: torch/serialization.py of PyTorch 2; pickle's operations: Lib/pickletools.py of CPython.

Imports: numpy, files.
"""

from __future__ import annotations

import io
import re
import stat
import struct

import numpy as np

from minigrad.files import RATIO, Refused, fill

__all__ = ["is_legacy", "is_zip", "read_legacy", "read_zip", "weights"]

STORAGES = {  # as they are named: dtype of the numbers; bfloat16 is widened to float32 on the way
    "torch.FloatStorage": "f4", "torch.DoubleStorage": "f8", "torch.HalfStorage": "f2", "torch.BFloat16Storage": "bf16",
    "torch.LongStorage": "i8", "torch.IntStorage": "i4", "torch.ShortStorage": "i2", "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1", "torch.BoolStorage": "?", "torch.ComplexFloatStorage": "c8",
    "torch.ComplexDoubleStorage": "c16", "torch.storage.UntypedStorage": "u1"}
DTYPES = {"torch.uint16": "u2", "torch.uint32": "u4", "torch.uint64": "u8"}  # of _rebuild_tensor_v3
CALLS = {"collections.OrderedDict", "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2",
         "torch._utils._rebuild_tensor_v3", "torch._utils._rebuild_parameter", "torch.Size"}
MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # 0x1950a86a20f9469cfc6c, with which the older format begins
PROTOCOL = 1001
MOST_OPERATIONS, MOST_TEXT, MOST_NODES, MOST_DEPTH, MOST_AXES = 4_000_000, 1 << 20, 10_000_000, 100, 64
_NOT_RUN = "; nothing but tensors, dicts, lists, tuples, numbers and texts is read, as anything more could run code"


def is_legacy(start: bytes) -> bool:
    """Whether a file begins as those before PyTorch 1.6 do."""
    return MAGIC in start[:32]


def is_zip(entries) -> bool:
    """Whether the entries of a zip file are those of PyTorch."""
    return any(re.fullmatch(r"([^/]*/)?data\.pkl", name) for name in entries)


def weights(tree) -> dict:
    """The {name: array} in what a file holds: the whole tree, or the one dict in it that holds arrays only."""
    if isinstance(tree, dict) and all(isinstance(value, np.ndarray) for value in tree.values()):
        found = tree
    elif isinstance(tree, dict):
        sets = {name: value for name, value in tree.items() if isinstance(value, dict) and value
                and all(isinstance(array, np.ndarray) for array in value.values())}
        if len(sets) != 1:
            what = f"sets of tensors under {', '.join(map(repr, list(sets)[:6]))}" if sets else "no dict of tensors under " \
                f"any of {', '.join(f'{str(name)[:40]!r}' for name in list(tree)[:6])}"
            raise Refused(f"it holds {what}: take one by minigrad.checkpoint.load_torch(path)[...]")
        (found,) = sets.values()
    else:
        raise Refused(f"it holds a {type(tree).__name__}, not tensors by name: see minigrad.checkpoint.load_torch(path)")
    for name in found:
        if type(name) is not str:
            raise Refused(f"it names a tensor {name!r}, not by a text: see minigrad.checkpoint.load_torch(path)")
    return found


# ---- the two formats


def read_zip(archive, entries: dict, size: int):
    """The tree in an open ZipFile whose entries have passed `files.check_zip`."""
    root = next(name for name in entries if is_zip([name])).removesuffix("data.pkl")  # "archive/"
    for name, info in entries.items():
        if name.startswith(("/", "\\")) or ".." in name.split("/") or stat.S_ISLNK(info.external_attr >> 16):
            raise Refused(f"an entry that is no plain file of the archive: {name[:80]!r}")
        if not name.startswith(root):
            raise ValueError(f"an entry outside its folder {root[:40]!r}: {name[:80]!r}")
    short = {name.removeprefix(root): info for name, info in entries.items()}
    data = {name.removeprefix("data/"): info for name, info in short.items() if name.startswith("data/")}
    for name in short:
        if name not in ("data.pkl", "version", "byteorder") and not name.startswith((".", "data/")):
            raise Refused(f"an entry that a file of weights does not have: {name[:80]!r} (a TorchScript program?)")
    texts = {name: archive.read(short[name])[:32].strip() for name in ("version", "byteorder") if name in short}
    if not texts.get("version", b"3").isdigit():
        raise ValueError(f"its version is {texts['version']!r}")
    if texts.get("byteorder", b"little") not in (b"little", b"big"):
        raise ValueError(f"its byteorder is {texts['byteorder']!r}, neither little nor big")
    order = ">" if texts.get("byteorder") == b"big" else "<"
    program = io.BytesIO(archive.read(short["data.pkl"]))
    machine = _Machine(program, short["data.pkl"].file_size, size)
    tree = machine.run()
    if program.read(1):
        raise ValueError("data.pkl goes on after its end")
    if set(data) != set(machine.storages):
        odd = sorted(set(data) ^ set(machine.storages))[:4]
        raise ValueError(f"the numbers that are there and those that are named differ: {odd}")
    for key, storage in machine.storages.items():
        if data[key].file_size != storage.nbytes:
            raise ValueError(f"data/{key} has {data[key].file_size} bytes, {storage.nbytes} are declared")
    for key, storage in machine.storages.items():
        with archive.open(data[key]) as stream:
            storage.load(stream, order)
            if stream.read(1):  # reading to the end also makes zipfile compare the CRC-32
                raise ValueError(f"data/{key} is longer than declared")
    return _resolve(tree)


def read_legacy(file, size: int):
    """The tree in an open file of the format before PyTorch 1.6: five pickles, then the numbers."""
    magic, protocol, system = (_Machine(file, size, size).run() for _ in range(3))
    if magic != int.from_bytes(MAGIC[2:-1], "little") or protocol != PROTOCOL:
        raise ValueError(f"unknown version {str(protocol)[:20]} of PyTorch's old format")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused("written on a machine whose numbers begin with the high byte: torch.load and torch.save it again")
    machine = _Machine(file, size, size)
    tree = machine.run()
    keys = _Machine(file, size, size).run()
    if not isinstance(keys, list) or any(type(key) is not str for key in keys) or len(set(keys)) != len(keys) \
            or set(keys) != set(machine.storages):
        raise ValueError("the numbers that follow are not those that are named")
    left = size - file.tell()
    needed = sum(8 + storage.nbytes for storage in machine.storages.values())
    if left != needed:
        raise ValueError(f"its numbers need {needed} bytes, it has {left}")
    for key in keys:
        storage = machine.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise ValueError(f"storage {key}: {count} numbers, {storage.count} are declared")
        storage.load(file, "<")
    return _resolve(tree)


class _Storage:
    """Numbers in a row, not read yet, and the tensors that are made of them."""

    def __init__(self, kind: str, count: int):
        self.kind, self.count, self.tensors = kind, count, []
        self.nbytes = count * (2 if kind == "bf16" else np.dtype(kind).itemsize)

    def load(self, stream, order: str) -> None:
        """Read the numbers and hand each tensor an array that it shares with no other."""
        numbers = np.empty(self.nbytes, np.uint8)
        fill(stream, numbers)
        for tensor in self.tensors:
            kind = tensor.kind
            row = numbers.view(np.dtype("u2" if kind == "bf16" else kind).newbyteorder(order))
            if kind == "?" and numbers.size and numbers.max() > 1:
                raise ValueError("a bool that is neither 0 nor 1")
            strides = [n * row.itemsize for n in tensor.strides]
            there = np.lib.stride_tricks.as_strided(row[tensor.offset:], tensor.shape, strides)
            own = len(self.tensors) > 1 or there.size < row.size
            array = there.astype(row.dtype.newbyteorder("="), order="K", copy=own)
            tensor.array = (array.astype(np.uint32) << 16).view(np.float32) if kind == "bf16" else array


class _Tensor:
    """Where a tensor's numbers stand, then its array."""

    def __init__(self, kind, offset, shape, strides):
        self.kind, self.offset, self.shape, self.strides, self.array = kind, offset, shape, strides, None


class _Name(str):
    """A dotted name that the program mentions: never looked up, only compared."""


def _resolve(tree):
    """The tree with arrays in place of tensors. Shared parts stay shared, and are walked once."""
    done = {}  # id: (node, what became of it, depth, how many nodes it has when written out)

    def walk(node, depth):
        if type(node) in (bool, int, float, str, type(None)):
            return node, 0, 1
        if id(node) in done:
            return done[id(node)][1:]
        if depth > MOST_DEPTH:
            raise ValueError(f"nested more than {MOST_DEPTH} deep, or in a circle")
        if type(node) is _Tensor:
            found = (node.array, 0, 1)
        elif type(node) in (list, tuple, dict):
            parts = [walk(part, depth + 1) for part in (node.values() if type(node) is dict else node)]
            values, below, nodes = [p[0] for p in parts], max((p[1] for p in parts), default=0), sum(p[2] for p in parts)
            if below >= MOST_DEPTH or nodes > MOST_NODES:
                raise ValueError("nested too deep, or too large when written out")
            found = (dict(zip(node, values, strict=True)) if type(node) is dict else type(node)(values), below + 1, nodes + 1)
        else:
            raise Refused(f"it holds {node if type(node) is _Name else 'numbers that are no tensor'}{_NOT_RUN}")
        done[id(node)] = (node, *found)
        return found

    return walk(tree, 0)[0]


# ---- the machine


class _Machine:
    """A stack, a memo and the operations of `_ACTIONS`. Its stream has `limit` bytes at most, the whole file `size`."""

    def __init__(self, stream, limit: int, size: int):
        self.stream, self.limit, self.work = stream, limit, 0
        self.stack, self.marks, self.memo, self.storages = [], [], {}, {}
        self.budget = RATIO * size + (1 << 24)  # bytes that all tensors may take

    def run(self):
        """What is on the stack at the end; ValueError for anything else than a whole program of plain data."""
        while self.work < MOST_OPERATIONS:
            self.work += 1
            code = self.take(1)
            if code == b".":
                result = self.pop()
                if self.stack or self.marks:
                    raise ValueError("the pickle ends with more than one thing on its stack")
                return result
            action = _ACTIONS.get(code)
            if action is None:
                raise Refused(f"the pickle's operation {_OTHERS.get(code, 'unknown')} (0x{code.hex()}) is not run{_NOT_RUN}")
            action(self)
        raise ValueError(f"the pickle has more than {MOST_OPERATIONS} operations")

    def take(self, count: int) -> bytes:
        if count > min(self.limit, MOST_TEXT):
            raise ValueError(f"the pickle asks for {count} bytes at once")
        data = self.stream.read(count)
        if len(data) != count:
            raise EOFError("the pickle ends too early")
        return data

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def push(self, value) -> None:
        self.stack.append(value)

    def pop(self):
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("the pickle takes from an empty stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list:
        if not self.marks:
            raise ValueError("the pickle goes back to a mark that is not there")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def top(self, kind):
        if len(self.stack) <= (self.marks[-1] if self.marks else 0) or type(self.stack[-1]) is not kind:
            raise ValueError(f"the pickle fills a {kind.__name__} that is not there")
        return self.stack[-1]

    def put(self, index: int) -> None:
        self.push(self.pop())  # not beyond a mark
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError(f"the pickle remembers nothing under {index}")
        self.push(self.memo[index])

    def text(self, count: int) -> None:
        self.push(self.take(count).decode("utf-8", "surrogatepass"))

    def long(self, count: int) -> None:
        if count > 16:
            raise ValueError(f"an integer of {count} bytes")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def join(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def extend(self, values: list) -> None:
        self.top(list).extend(values)

    def update(self, values: list) -> None:
        target = self.top(dict)
        if len(values) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) is not str and not (type(key) is int and abs(key) < 2**60):
                raise Refused(f"a dict has the key {_few(key)}; keys must be texts or integers")
            target[key] = value

    def name(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in CALLS and full not in STORAGES and full not in DTYPES:
            known = "a whole module? torch.save(module.state_dict(), path) keeps its weights" \
                if module.startswith(("torch.nn", "__main__", "torchvision")) else "not read"
            raise Refused(f"it names {full[:120]} ({known}){_NOT_RUN}")
        self.push(_Name(full))

    def global_line(self) -> None:
        words = []
        for _ in range(2):
            word = b""
            while not word.endswith(b"\n"):
                if len(word) > 255:
                    raise ValueError("the pickle names something of more than 255 characters")
                word += self.take(1)
            words.append(word[:-1].decode())
        self.name(*words)

    def global_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("the pickle names something that is no text")
        self.name(module, name)

    def storage(self) -> None:
        """The numbers that the file calls `key`: ("storage", type, key, device, count[, view])."""
        about = self.pop()
        if type(about) is not tuple or len(about) not in (5, 6) or about[0] != "storage" or type(about[1]) is not _Name \
                or about[1] not in STORAGES or type(about[2]) is not str or not re.fullmatch(r"\w{1,64}", about[2]) \
                or type(about[4]) is not int or not 0 <= about[4] < 2**48:
            raise ValueError(f"a storage that is none: {_few(about)}")
        if about[5:] not in ((), (None,)):
            raise Refused("a storage that is a part of another: torch.load and torch.save it with PyTorch 1.6 or later")
        found = self.storages.setdefault(about[2], _Storage(STORAGES[about[1]], about[4]))
        if (found.kind, found.count) != (STORAGES[about[1]], about[4]):
            raise ValueError(f"storage {about[2]} is declared twice, differently")
        self.push(found)

    def call(self) -> None:
        given, function = self.pop(), self.pop()
        if type(given) is not tuple or type(function) is not _Name or function not in CALLS:
            raise Refused(f"it calls {_few(function)}{_NOT_RUN}")
        if function == "collections.OrderedDict" and given == ():
            self.push({})
        elif function == "collections.OrderedDict" and len(given) == 1 and type(given[0]) is list:  # PyTorch 0.3
            pairs = given[0]
            self.work += len(pairs)
            if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
                raise ValueError("an OrderedDict of no pairs")
            self.push({})
            self.update([part for pair in pairs for part in pair])
        elif function == "torch.Size" and len(given) == 1 and type(given[0]) is tuple:
            self.push(given[0])
        elif function == "torch._utils._rebuild_parameter" and len(given) == 3 and type(given[0]) is _Tensor \
                and given[2] == {}:
            self.push(given[0])
        else:
            self.push(self.tensor(function, given))

    def tensor(self, function: str, given: tuple) -> _Tensor:
        """(storage, offset, shape, strides[, requires_grad, hooks[, dtype (v3)][, metadata]]), every part checked."""
        v3 = function.endswith("_v3")
        if not function.startswith("torch._utils._rebuild_tensor") or len(given) < (4 if function.endswith("tensor") else 6) + v3 \
                or len(given) > 7 + v3 or type(given[0]) is not _Storage:
            raise ValueError(f"a tensor that is none: {function} with {len(given)} arguments")
        storage, offset, shape, strides = given[:4]
        if given[5:6] not in ((), ({},)) or given[6 + v3:] not in ((), (None,), ({},)):
            raise Refused("a tensor with hooks or with bits that change its numbers (conj, neg): save a plain copy of it")
        kind = storage.kind
        if v3:
            if type(given[6]) is not _Name or given[6] not in DTYPES or storage.kind != "u1":
                raise Refused(f"a tensor of dtype {_few(given[6])}")
            kind = DTYPES[given[6]]
        for numbers in ((offset,), shape, strides):
            if type(numbers) is not tuple or any(type(n) is not int or not 0 <= n < 2**48 for n in numbers):
                raise ValueError(f"a tensor of shape {_few(shape)}, strides {_few(strides)} and offset {_few(offset)}")
        if len(shape) != len(strides) or len(shape) > MOST_AXES:
            raise ValueError(f"a tensor of shape {_few(shape)} with {len(strides)} strides")
        size = 2 if kind == "bf16" else np.dtype(kind).itemsize
        count = 0 if 0 in shape else 1
        for n in shape:
            count *= n
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if count else offset - 1
        if (last + 1) * size > storage.nbytes:
            raise ValueError(f"a tensor of shape {_few(shape)}, strides {_few(strides)} and offset {offset} of "
                             f"{storage.nbytes // size} numbers")
        self.budget -= max(count * size, 64)
        if self.budget < 0:
            raise Refused(f"its tensors take more than {RATIO} times the file (one has shape {_few(shape)}): refused as a bomb")
        storage.tensors.append(_Tensor(kind, offset, shape, strides))
        return storage.tensors[-1]

    def build(self) -> None:
        """The attributes of an OrderedDict (PyTorch's _metadata, versions of layers) are read and dropped."""
        state = self.pop()
        self.top(dict)
        if type(state) is not dict or len(state) > 1 or set(state) - {"_metadata"}:
            raise Refused(f"it sets attributes {_few(state)}{_NOT_RUN}")


def _few(thing) -> str:
    """A few words for a message; never walks what the file made."""
    if type(thing) in (int, float, str, bool, type(None), _Name):
        return str(thing)[:60]
    if type(thing) is tuple and len(thing) <= 8 and all(type(part) in (int, str, _Name) for part in thing):
        return f"({', '.join(str(part)[:20] for part in thing)})"
    return f"a {type(thing).__name__.strip('_').lower()}"


_ACTIONS = {
    b"\x80": lambda m: m.number("<B"),  # PROTO
    b"\x95": lambda m: m.number("<Q"),  # FRAME: a hint for buffers
    b"(": _Machine.mark, b"N": lambda m: m.push(None), b"\x88": lambda m: m.push(True), b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.number("<B")), b"M": lambda m: m.push(m.number("<H")), b"J": lambda m: m.push(m.number("<i")),
    b"G": lambda m: m.push(m.number(">d")), b"\x8a": lambda m: m.long(m.number("<B")), b"\x8b": lambda m: m.long(m.number("<I")),
    b"X": lambda m: m.text(m.number("<I")), b"\x8c": lambda m: m.text(m.number("<B")), b"\x8d": lambda m: m.text(m.number("<Q")),
    b"U": lambda m: m.text(m.number("<B")), b"T": lambda m: m.text(m.number("<I")),  # Python 2's str
    b")": lambda m: m.push(()), b"\x85": lambda m: m.join(1), b"\x86": lambda m: m.join(2), b"\x87": lambda m: m.join(3),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())), b"]": lambda m: m.push([]), b"a": lambda m: m.extend([m.pop()]),
    b"e": lambda m: m.extend(m.pop_to_mark()), b"}": lambda m: m.push({}), b"s": lambda m: m.update([m.pop(), m.pop()][::-1]),
    b"u": lambda m: m.update(m.pop_to_mark()), b"q": lambda m: m.put(m.number("<B")), b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)), b"h": lambda m: m.get(m.number("<B")), b"j": lambda m: m.get(m.number("<I")),
    b"c": _Machine.global_line, b"\x93": _Machine.global_stack, b"R": _Machine.call, b"b": _Machine.build,
    b"Q": _Machine.storage}
_OTHERS = {b"\x81": "NEWOBJ", b"\x92": "NEWOBJ_EX", b"i": "INST", b"o": "OBJ", b"\x82": "EXT1", b"\x83": "EXT2", b"\x84": "EXT4",
           b"\x8f": "EMPTY_SET", b"\x91": "FROZENSET", b"B": "BINBYTES", b"C": "SHORT_BINBYTES", b"P": "PERSID"}
