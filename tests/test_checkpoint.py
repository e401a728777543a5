"""Checkpoints: arbitrary trees come back equal; damaged files raise CheckpointError only; writes are atomic."""

import io
import json
import math
import os
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad import checkpoint, files
from minigrad.checkpoint import CheckpointError

dtypes = st.one_of(
    hnp.boolean_dtypes(), hnp.integer_dtypes(endianness="?"), hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(endianness="=", sizes=(64,)), hnp.unicode_string_dtypes(endianness="=", max_len=4),
    hnp.byte_string_dtypes(max_len=4), hnp.datetime64_dtypes(endianness="="),
    st.just(np.dtype([("a", "<f4"), ("b", "<i8", (2,))])))
arrays = dtypes.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)))
scalars = st.sampled_from(["f4", "f8", "i8", "u1", "?"]).flatmap(lambda d: hnp.arrays(d, ())).map(lambda a: a[()])
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(2**300), 2**300), st.floats(), st.text(),
                   arrays, scalars, arrays.map(lambda a: a.T))
keys = st.one_of(st.text(max_size=8), st.integers(-(2**70), 2**70))
trees = st.recursive(leaves, lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=10)


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b) or math.isnan(a) and math.isnan(b)
    return a == b


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


EXAMPLE = {
    "model": {"conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2), "empty": np.zeros((0, 3))},
    "optimiser": {0: {"m": np.float32(1.5), "step": 7}, "betas": (0.5, 0.999)},
    "streams": [2**100, float("nan"), -0.0, None, True, "ä\ud800"], "big": np.arange(1000, dtype=np.int64)}


@given(trees)
@settings(max_examples=150)
def test_arbitrary_trees_round_trip(folder, tree):
    path = folder / "tree.npz"
    checkpoint.save(path, tree)
    assert same(checkpoint.load(path), tree)


@given(trees)
@example(np.zeros((2, 2, 1), bool).T)  # axes of length 1, whose strides mean nothing
@example(np.zeros((1, 2, 1, 2), bool).T)
@settings(max_examples=20)
def test_equal_trees_give_equal_bytes(folder, tree):
    checkpoint.save(folder / "a.npz", tree)
    checkpoint.save(folder / "b.npz", checkpoint.load(folder / "a.npz"))
    assert (folder / "a.npz").read_bytes() == (folder / "b.npz").read_bytes()


def test_memory_order_of_axes_is_kept(folder):
    image = np.arange(2 * 4 * 5 * 3, dtype=np.float32).reshape(2, 4, 5, 3).transpose(0, 3, 1, 2)
    tree = {"x": image, "strided": image[:, :, ::2], "f": np.asfortranarray(np.eye(3, 4))}
    checkpoint.save(folder / "order.npz", tree)
    back = checkpoint.load(folder / "order.npz")
    assert back["x"].strides == image.strides and back["f"].flags.f_contiguous
    assert same(back["x"], image) and same(back["strided"], image[:, :, ::2])
    assert back["x"].flags.writeable


def test_numpy_opens_the_file_with_readable_names(folder):
    checkpoint.save(folder / "plain.npz", EXAMPLE)
    with np.load(folder / "plain.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["model.conv.weight"], EXAMPLE["model"]["conv.weight"])


def test_names_that_look_alike_do_not_clash(folder):
    tree = {"a/b": np.ones(1), "a b": np.zeros(1), "a": {"b": np.full(1, 2.0)}, "tree.json": np.full(1, 3.0),
            "../x": np.full(1, 4.0), "": np.full(1, 5.0)}
    checkpoint.save(folder / "names.npz", tree)
    assert same(checkpoint.load(folder / "names.npz"), tree)


class Strange:
    pass


@pytest.mark.parametrize("tree, words", [
    ({"model": [Strange()]}, r"tree\['model'\]\[0\] is a .*Strange"),
    ({"a": np.array([None])}, "dtype object"),
    ({"a": {1.5: 0}}, "key 1.5"),
    ({"a": {True: 0}}, "key True"),
    ({1, 2}, "is a set"),
    (b"bytes", "is a bytes"),
    (1j, "is a complex"),
    (np.ma.masked_array([1]), "masked"),
    (np.zeros(3, "V0"), "cannot keep"),
    (np.zeros(3, [("µ€", "f4")]), "cannot keep"),
    (np.zeros(3, [("a", object)]), "dtype object"),
])
def test_what_cannot_be_kept_is_refused_before_a_file_is_touched(tmp_path, tree, words):
    with pytest.raises(TypeError, match=words):
        checkpoint.save(tmp_path / "x.npz", tree)
    assert os.listdir(tmp_path) == []


def test_cycles_and_depth(tmp_path):
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="cycle"):
        checkpoint.save(tmp_path / "x.npz", loop)
    deep = 0
    for _ in range(checkpoint.MAX_DEPTH):
        deep = {"a": deep}
    checkpoint.save(tmp_path / "x.npz", deep)
    assert checkpoint.load(tmp_path / "x.npz") == deep


# ---- damage


def must_be_equal_or_refused(path, expected, read=checkpoint.load):
    try:
        found = read(path)
    except CheckpointError as error:
        assert error.path == str(path) and error.reason and str(path) in str(error)
    else:
        assert same(found, expected)


def mutate(data, content: bytes) -> bytes:
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["flip", "byte", "cut", "insert", "swap", "repeat"]))
        i = data.draw(st.integers(0, max(0, len(content) - 1)))
        n = data.draw(st.integers(1, 64))
        if kind == "flip" and content:
            content[i] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "byte" and content:
            content[i] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[i:i + n]
        elif kind == "insert":
            content[i:i] = data.draw(st.binary(max_size=16))
        elif kind == "swap":
            content[i:i + n] = content[i:i + n][::-1]
        else:
            content[i:i] = content[i:i + n]
    return bytes(content)


@given(st.data())
@settings(max_examples=300)
def test_mutated_files_load_equal_or_raise_the_one_error(folder, data):
    path, whole = folder / "mutated.npz", folder / "whole.npz"
    if not whole.exists():
        checkpoint.save(whole, EXAMPLE)
    path.write_bytes(mutate(data, whole.read_bytes()))
    must_be_equal_or_refused(path, EXAMPLE)


def test_every_single_bit_flip_of_a_small_file(folder):
    path = folder / "bits.npz"
    tree = {"x": np.arange(3.0), "n": 5}
    checkpoint.save(path, tree)
    content = path.read_bytes()
    for i in range(len(content)):
        for bit in (0, 3, 7):
            path.write_bytes(content[:i] + bytes([content[i] ^ (1 << bit)]) + content[i + 1:])
            must_be_equal_or_refused(path, tree)


def test_every_truncation_is_refused(folder):
    path = folder / "short.npz"
    checkpoint.save(path, EXAMPLE)
    content = path.read_bytes()
    for n in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:n])
        with pytest.raises(CheckpointError):
            checkpoint.load(path)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(folder, content):
    path = folder / "noise.npz"
    path.write_bytes(content)
    for read in (checkpoint.load, checkpoint.load_weights):
        with pytest.raises(CheckpointError):
            read(path)


def npy_header(shape, descr="<f8", fortran=False):
    text = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def crafted(path, entries, compression=zipfile.ZIP_STORED, tree=None):
    tree = {"array": "x"} if tree is None else tree
    with zipfile.ZipFile(path, "w", compression) as archive:
        if tree != "none":
            archive.writestr("tree.json", json.dumps({"format": "minigrad tree 1", "tree": tree}))
        for name, content in entries:
            archive.writestr(name, content)


X = npy_header((2,)) + bytes(16)


@pytest.mark.parametrize("entries, options, words", [
    ([("x.npy", npy_header((10**9, 10**6)) + bytes(64))], {}, "needs 8000000000000000 bytes"),
    ([("x.npy", npy_header((-1, 8)))], {}, "impossible"),
    ([("x.npy", npy_header((10**12,), "<U0"))], {}, "impossible"),
    ([("x.npy", npy_header((0, 10**30)))], {}, "damaged"),
    ([("x.npy", npy_header((1,), "|O") + bytes(8))], {}, "object"),
    ([("x.npy", npy_header((1.5,)))], {}, "shape"),
    ([("x.npy", b"\x93NUMPY\x09\x00" + X[8:])], {}, "version"),
    ([("x.npy", npy_header((3,)) + bytes(16))], {}, "needs 24 bytes"),
    ([("x.npy", npy_header((1,)) + bytes(16))], {}, "needs 8 bytes"),
    ([("x.npy", b"hello")], {}, "x.npy|magic|damaged"),
    ([], {}, "'x' is missing"),
    ([("x.npy", X), ("y.npy", X)], {}, "does not mention"),
    ([("x.npy", X)], {"tree": "none"}, "no entry tree.json"),
    ([("x.npy", X)], {"tree": {"unknown": 1}}, "unknown"),
    ([("x.npy", X)], {"tree": {"array": "x", "order": [3, 1]}}, "damaged|axes"),
    ([("x.npy", X)], {"tree": {"array": 3}}, "damaged"),
    ([("x.npy", X)], {"tree": {"dict": [1]}}, "damaged"),
    ([("x.npy", X)], {"tree": {"float": "seven"}}, "seven"),
    ([("x.npy", X)], {"tree": {"int": "z"}}, "int"),
    ([("x.npy", X)], {"compression": zipfile.ZIP_DEFLATED}, "compressed"),
])
def test_crafted_files_are_refused(tmp_path, entries, options, words):
    crafted(tmp_path / "x.npz", entries, **options)
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load(tmp_path / "x.npz")


def test_duplicate_entries_are_refused(tmp_path):
    with pytest.warns(UserWarning):
        crafted(tmp_path / "x.npz", [("x.npy", X), ("x.npy", X)])
    with pytest.raises(CheckpointError, match="two entries"):
        checkpoint.load(tmp_path / "x.npz")


def test_deeply_nested_json_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("tree.json", "[" * 100_000)
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path / "x.npz")


def compressed_zeros(path, megabytes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as entry:
        entry.write(npy_header((megabytes << 20,), "|u1"))
        for _ in range(megabytes):
            entry.write(bytes(1 << 20))


def test_compressed_zeros_load_and_bombs_do_not(tmp_path, monkeypatch):
    path = tmp_path / "zeros.npz"
    compressed_zeros(path, 64)
    assert path.stat().st_size < 1 << 17
    assert checkpoint.load_weights(path)["x"].nbytes == 64 << 20
    monkeypatch.setattr(files, "AFFORDABLE", 63 << 20)
    with pytest.raises(CheckpointError, match="zip bomb"):
        checkpoint.load_weights(path)


def test_a_list_of_contents_that_lacks_entries_is_refused(tmp_path):
    """One flipped bit in the length of a comment swallows the entries behind it; a size of 0 swallows all."""
    path = tmp_path / "w.npz"
    for write in (checkpoint.save_weights, lambda path, arrays: np.savez_compressed(path, **arrays)):
        write(path, WEIGHTS)
        content = path.read_bytes()
        assert set(checkpoint.load_weights(path)) == set(WEIGHTS)
        directory = [i for i in range(len(content)) if content.startswith(b"PK\1\2", i)]
        for at, value in ((directory[1] + 30, b"\xff\xff"), (directory[2] + 33, b"\1"), (directory[-1] + 32, b"\x10"),
                          (len(content) - 14, bytes(8))):
            path.write_bytes(content[:at] + value + content[at + len(value):])
            must_be_equal_or_refused(path, WEIGHTS, checkpoint.load_weights)


def test_archives_written_to_a_pipe_are_read(tmp_path):
    """Sizes stand behind the data there."""
    out = io.BytesIO()

    class Pipe(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return out.write(bytes(data))

    with zipfile.ZipFile(Pipe(), "w") as archive:
        for name in "ab":
            with archive.open(f"{name}.npy", "w") as stream:
                stream.write(X)
    (tmp_path / "w.npz").write_bytes(out.getvalue())
    assert list(checkpoint.load_weights(tmp_path / "w.npz")) == ["a", "b"]


def test_an_entry_that_declares_more_than_deflate_can_hold_is_refused(tmp_path):
    path = tmp_path / "liar.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_header((1 << 28,), "|u1") + bytes(64))
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2")
    content[at + 24:at + 28] = struct.pack("<I", (1 << 28) + 128)  # the size that the directory declares
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="two different sizes"):
        checkpoint.load_weights(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in files on this system")
def test_pipes_devices_and_folders_are_refused_and_nothing_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink(tmp_path / "pipe", tmp_path / "link.npz")
    for read in (checkpoint.load, checkpoint.load_weights, checkpoint.load_torch):
        for path in (tmp_path / "pipe", tmp_path / "link.npz", "/dev/zero"):
            with pytest.raises(CheckpointError, match="not a file"):
                read(path)
        with pytest.raises(CheckpointError, match="folder"):
            read(tmp_path)


def test_missing_folders_and_files(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint.load(tmp_path / "absent.npz")
    with pytest.raises(CheckpointError, match="cannot be written"):
        checkpoint.save(tmp_path / "absent" / "x.npz", 1)
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path)


# ---- atomicity


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.npz"
    checkpoint.save(path, 1)
    with pytest.raises(KeyboardInterrupt), checkpoint.atomic_write(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert checkpoint.load(path) == 1 and os.listdir(tmp_path) == ["x.npz"]


def test_kill_during_a_write_leaves_a_whole_file(tmp_path):
    """A child overwrites one checkpoint without pause and is killed at arbitrary moments."""
    path = tmp_path / "x.npz"
    code = ("import sys, numpy as np; from minigrad import checkpoint\n"
            "n = 0\n"
            "while True:\n"
            "    n += 1; checkpoint.save(sys.argv[1], {'n': n, 'x': np.full(300_000, n)}); print(n, flush=True)")
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    last = 0
    for attempt in range(6):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True,
                                 env={**os.environ, "PYTHONPATH": root})
        reported = [int(child.stdout.readline()) for _ in range(2 + attempt)]
        time.sleep(0.0007 * attempt)
        child.kill()
        reported += [int(line) for line in child.communicate()[0].split()]
        tree = checkpoint.load(path)
        assert tree["n"] >= reported[-1] and (tree["x"] == tree["n"]).all()
        last = max(last, tree["n"])
    assert last > 2


# ---- weights

WEIGHTS = {"b": np.float16([1, 2, 3]), "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(7),
           "flag": np.bool_([1, 0]), "empty": np.zeros((0, 4), np.float32),
           "channels": np.ones((1, 2, 2, 3)).transpose(0, 3, 1, 2)}


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_weights_round_trip(tmp_path, ending):
    path = tmp_path / f"w.{ending}"
    checkpoint.save_weights(path, WEIGHTS)
    assert same(checkpoint.load_weights(path), WEIGHTS)
    assert list(checkpoint.load_weights(path)) == list(WEIGHTS)


weight_names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=12)
weight_arrays = hnp.arrays(st.sampled_from(["f4", ">f4", "f8", "f2", "i8", "u1", "?", "i4", "c8"]),
                           hnp.array_shapes(min_dims=0, min_side=0, max_side=3))


@given(st.dictionaries(weight_names, weight_arrays, max_size=4), st.sampled_from(["npz", "safetensors"]))
@settings(max_examples=60)
def test_any_weights_round_trip(folder, weights, ending):
    path = folder / f"any.{ending}"
    checkpoint.save_weights(path, weights)
    found = checkpoint.load_weights(path)
    assert list(found) == list(weights)
    for name, value in weights.items():
        assert found[name].dtype.newbyteorder("=") == value.dtype.newbyteorder("=")
        assert found[name].shape == value.shape
        assert np.array_equal(found[name], value, equal_nan=value.dtype.kind in "fc")


def test_weights_from_numpy_savez_compressed(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", **{"layer/w": np.zeros((30, 30))})
    assert same(checkpoint.load_weights(tmp_path / "w.npz"), {"layer/w": np.zeros((30, 30))})


def test_safetensors_agrees_with_the_reference_package(tmp_path):
    reference = pytest.importorskip("safetensors.numpy")
    plain = {name: np.ascontiguousarray(value) for name, value in WEIGHTS.items()}
    reference.save_file(plain, tmp_path / "theirs.safetensors", {"format": "np"})
    found = checkpoint.load_weights(tmp_path / "theirs.safetensors")
    assert set(found) == set(plain) and all(same(found[name], plain[name]) for name in plain)
    checkpoint.save_weights(tmp_path / "ours.safetensors", plain)
    found = reference.load_file(tmp_path / "ours.safetensors")
    assert set(found) == set(plain) and all(same(found[name], plain[name]) for name in plain)


def safetensors(header, data=b"", length=None):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), begin=0, end=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_bfloat16_widens_exactly(tmp_path):
    values = np.float32([1.5, -2.0, np.inf, 3.140625])
    data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    (tmp_path / "x").write_bytes(safetensors({"w": entry("BF16", (4,))}, data))
    assert same(checkpoint.load_weights(tmp_path / "x"), {"w": values})


@pytest.mark.parametrize("content", [
    b"", b"\1", safetensors({"a": entry()}, bytes(4)), safetensors({"a": entry()}, bytes(12)),
    safetensors({"a": entry(shape=(10**9, 10**9))}, bytes(8)), safetensors({"a": entry(begin=4, end=12)}, bytes(12)),
    safetensors({"a": entry(), "b": entry()}, bytes(16)), safetensors({"a": entry("F7")}, bytes(8)),
    safetensors({"a": entry(shape=(-2,))}, bytes(8)), safetensors({"a": entry(shape=(2.0,))}, bytes(8)),
    safetensors({"a": entry("BOOL", (1,), 0, 1)}, b"\7"), safetensors({"a": 3}, bytes(8)), safetensors([1]),
    safetensors(b'{"a":{},"a":{}}'), safetensors(b"[" * 9000), safetensors({}, length=2**63), safetensors(b"\xff\xff"),
    safetensors({"a": entry(begin=8, end=0)}, bytes(8)), safetensors({"a": {"dtype": "F32"}}),
])
def test_damaged_safetensors_are_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError):
        checkpoint.load_weights(tmp_path / "x.safetensors")


@given(st.data())
@settings(max_examples=150)
def test_mutated_safetensors_give_arrays_or_the_one_error(folder, data):
    path, whole = folder / "m.safetensors", folder / "whole.safetensors"
    if not whole.exists():
        checkpoint.save_weights(whole, WEIGHTS)
    path.write_bytes(mutate(data, whole.read_bytes()))
    try:
        found = checkpoint.load_weights(path)
    except CheckpointError:
        return
    assert all(isinstance(value, np.ndarray) for value in found.values())


@pytest.mark.parametrize("path, weights, error, words", [
    ("w.pth", {}, ValueError, "npz or .safetensors"),
    ("w.npz", {"a": [1, 2]}, TypeError, "not a NumPy array"),
    ("w.npz", {3: np.ones(1)}, TypeError, "not a name"),
    ("w.npz", {"a\0b": np.ones(1)}, TypeError, "not a name"),
    ("w.npz", {"\ud800": np.ones(1)}, TypeError, "Unicode"),
    ("w.safetensors", {"a": np.array(["x"])}, TypeError, "cannot keep"),
    ("w.npz", {"a": np.array([{}])}, TypeError, "object"),
    ("no/w.safetensors", {"a": np.ones(1)}, CheckpointError, "cannot be written"),
])
def test_wrong_weights_say_what_is_wrong(tmp_path, path, weights, error, words):
    with pytest.raises(error, match=words):
        checkpoint.save_weights(tmp_path / path, weights)
    assert os.listdir(tmp_path) == []


def test_whole_trees_are_named(tmp_path):
    checkpoint.save(tmp_path / "tree.npz", {"a": np.ones(2)})
    with pytest.raises(CheckpointError, match="checkpoint.load"):
        checkpoint.load_weights(tmp_path / "tree.npz")


LONG = [10**18] * 200_000


@pytest.mark.parametrize("content, words", [
    (safetensors({"a": entry(shape=LONG, end=0)}), "impossible shape"),  # a product of three million digits
    (safetensors({"a": entry(shape=[1] * 65)}, bytes(4)), "impossible shape"),
    (safetensors({"a": entry(shape=[0, 2**62, 2**62], end=0)}), "array is too big|damaged"),
    (safetensors({"a": entry(shape=[2**70], end=0)}), "impossible shape"),
    (safetensors({"a": {**entry(end=8), "more": 1}}, bytes(8)), "not exactly"),
    (safetensors({"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}, bytes(8)), "not supported"),
    (safetensors({"a": {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}}, bytes(8)), "impossible shape"),
    (safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 9]}}, bytes(8)), "impossible offsets"),
    (safetensors({"a": entry(), "b": entry(begin=4, end=12)}, bytes(12)), "begins at 4"),
    (safetensors({"a": entry(), "b": entry(begin=12, end=20)}, bytes(20)), "begins at 12"),
    (safetensors({"__metadata__": {"a": 1}}), "__metadata__"),
    (safetensors(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "twice"),
    (safetensors(b"[" * 5_000_000), "damaged"),
    (safetensors(b" " * ((1 << 23) + 1)), "header declares"),
    (safetensors({"x" * 5000: entry("F7")}, bytes(8)), "F7"),
])
def test_hostile_safetensors_end_soon_in_few_words(tmp_path, content, words):
    (tmp_path / "x.safetensors").write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match=words) as caught:
        checkpoint.load_weights(tmp_path / "x.safetensors")
    assert time.perf_counter() - start < 5 and len(caught.value.reason) < 600
