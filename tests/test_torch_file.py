"""PyTorch's files of weights: what PyTorch wrote comes back equal; everything else is refused by name, and nothing runs."""

import ast
import io
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import torch_file
from minigrad.checkpoint import CheckpointError, load_torch, load_weights

# ---- files by hand: the opcodes are those of pickle's protocol 2


def name(module, what):
    return f"c{module}\n{what}\n".encode()


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value) if abs(value) < 2**31 else b"\x8a\x08" + struct.pack("<q", value)


def together(*parts):
    return b"(" + b"".join(parts) + b"t"


def mapping(**parts):
    return b"}(" + b"".join(text(key) + value for key, value in parts.items()) + b"u"


def storage(key="0", kind="FloatStorage", count=6, view=b""):
    return together(text("storage"), name("torch", kind), text(key), text("cpu"), number(count), view) + b"Q"


EMPTY = name("collections", "OrderedDict") + b")R"


def tensor(shape=(2, 3), strides=(3, 1), offset=0, hooks=EMPTY, rest=b"", **of):
    sizes = (together(*map(number, numbers)) for numbers in (shape, strides))
    return name("torch._utils", "_rebuild_tensor_v2") + together(storage(**of), number(offset), *sizes, b"\x89", hooks, rest) + b"R"


def program(body):
    return b"\x80\x02" + body + b"."


NUMBERS = np.arange(6, dtype="<f4")


def zipped(body, data=None, root="archive/", byteorder="little", extra=(), method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(f"{root}data.pkl", program(body))
        archive.writestr(f"{root}version", "3\n")
        archive.writestr(f"{root}byteorder", byteorder)
        for key, content in ({"0": NUMBERS.tobytes()} if data is None else data).items():
            archive.writestr(f"{root}data/{key}", content)
        for entry, content in extra:
            archive.writestr(entry, content)
    return out.getvalue()


def legacy(body, data=None, keys=None, little=b"\x88", protocol=1001, counts=None):
    data = {"0": NUMBERS.tobytes()} if data is None else data
    system = mapping(protocol_version=number(1001), little_endian=little)
    parts = [program(torch_file.MAGIC[:-1]), program(number(protocol)), program(system), program(body),
             program(b"](" + b"".join(map(text, data if keys is None else keys)) + b"e")]
    numbers = [struct.pack("<q", (counts or {}).get(key, len(content) // 4)) + content for key, content in data.items()]
    return b"".join(parts + numbers)


def read(tmp_path, content, reader=load_torch):
    (tmp_path / "w.pth").write_bytes(content)
    return reader(tmp_path / "w.pth")


def refused(tmp_path, content, words, reader=load_torch):
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match=words) as caught:
        read(tmp_path, content, reader)
    assert time.perf_counter() - start < 20 and len(str(caught.value)) < 1000
    assert caught.value.path == str(tmp_path / "w.pth")


# ---- what is read


@pytest.mark.parametrize("build", [zipped, legacy])
def test_files_by_hand_are_read(tmp_path, build):
    found = read(tmp_path, build(mapping(w=tensor(), n=number(-7), none=b"N", flag=b"\x88", f=b"G" + struct.pack(">d", 1.5),
                                         items=b"](" + number(1) + text("ä") + b"e", pair=together(number(2**40), b")"))))
    np.testing.assert_array_equal(found.pop("w"), NUMBERS.reshape(2, 3))
    assert found == {"n": -7, "none": None, "flag": True, "f": 1.5, "items": [1, "ä"], "pair": (2**40, ())}


def test_strides_offsets_and_shared_numbers(tmp_path):
    body = mapping(turned=tensor((3, 2), (1, 3)), last=tensor((2,), (2,), 3), row=tensor((3,), (1,), 3),
                   wide=tensor((4, 2), (0, 1)), one=tensor((), (), 5), empty=tensor((0, 9), (9, 1), 6))
    found = read(tmp_path, zipped(body), load_weights)
    expected = {"turned": [[0, 3], [1, 4], [2, 5]], "last": [3, 5], "row": [3, 4, 5], "wide": [[0, 1]] * 4, "one": 5}
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
    assert found["empty"].shape == (0, 9) and found["one"].shape == ()
    assert found["turned"].strides == (4, 12), "the order of the axes in memory is the file's"
    found["turned"][:] = 9  # arrays of one storage do not change one another
    np.testing.assert_array_equal(found["row"], [3, 4, 5])
    found["wide"][0] = 7
    np.testing.assert_array_equal(found["wide"][1], [0, 1])


def test_high_byte_first_and_bfloat16(tmp_path):
    found = read(tmp_path, zipped(mapping(w=tensor()), {"0": NUMBERS.astype(">f4").tobytes()}, byteorder="big"))
    np.testing.assert_array_equal(found["w"], NUMBERS.reshape(2, 3))
    assert found["w"].dtype == np.float32 and found["w"].dtype.isnative
    values = np.float32([1.5, -2, np.inf, 3.140625, 0, 1])
    halves = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    for build in (zipped, legacy):
        given = {"counts": {"0": 6}} if build is legacy else {}
        found = read(tmp_path, build(mapping(w=tensor(kind="BFloat16Storage")), {"0": halves}, **given), load_weights)
        np.testing.assert_array_equal(found["w"], values.reshape(2, 3))


def test_weights_are_the_one_dict_of_tensors(tmp_path):
    inner = mapping(w=tensor())
    assert list(read(tmp_path, zipped(inner), load_weights)) == ["w"]
    assert list(read(tmp_path, zipped(mapping(state_dict=inner, epoch=number(3), names=mapping())), load_weights)) == ["w"]
    assert read(tmp_path, zipped(mapping(), {}), load_weights) == {}
    refused(tmp_path, zipped(mapping(model=inner, average=mapping(w=tensor()))), "'model', 'average': take one by", load_weights)
    refused(tmp_path, zipped(mapping(epoch=number(3)), {}), "no dict of tensors under any of 'epoch'", load_weights)
    refused(tmp_path, zipped(tensor()), "a ndarray, not tensors by name", load_weights)
    refused(tmp_path, zipped(b"}(" + number(3) + tensor() + b"u"), "names a tensor 3", load_weights)


# ---- what is refused

MANY = b"".join(b"(h" + bytes([i]) + b"h" + bytes([i]) + b"tq" + bytes([i + 1]) for i in range(200))  # (x, x), 200 times
DEEP = b"]" * 50_000 + b"a" * 49_999


@pytest.mark.parametrize("body, words", [
    (name("os", "system") + together(text("true")) + b"R", r"it names os\.system"),
    (name("builtins", "eval"), r"builtins\.eval"),
    (name("torch.nn.modules.linear", "Linear") + b")\x81", r"torch\.nn\.modules\.linear\.Linear .*state_dict"),
    (name("numpy._core.multiarray", "scalar"), "numpy._core.multiarray.scalar"),
    (name("torch._utils", "_rebuild_sparse_tensor"), "_rebuild_sparse_tensor"),
    (text("torch") + text("load") + b"\x93", r"torch\.load"),
    (number(1) + number(2) + b"\x93", "no text"),
    (b"\x82\1", "EXT1"), (b"\x83\1\0", "EXT2"), (b"\x84\1\0\0\0", "EXT4"), (b"(ios\nsystem\n", "INST"), (b"(o", "OBJ"),
    (b")\x81", "NEWOBJ"), (b"P1\n", "PERSID"), (b"\x8f", "EMPTY_SET"), (b"C\1x", "SHORT_BINBYTES"), (b"\xff", "0xff"),
    (name("torch", "FloatStorage"), r"it holds torch\.FloatStorage"),
    (name("collections", "OrderedDict"), r"it holds collections\.OrderedDict"),
    (name("torch", "FloatStorage") + b")R", r"it calls torch\.FloatStorage"),
    (number(1) + b")R", "it calls 1"), (storage(), "numbers that are no tensor"),
    (mapping(w=tensor()) + mapping(os=number(1)) + b"b", "sets attributes"),
    (mapping(w=tensor()) + b"]b", "sets attributes a list"), (b"]}b", "fills a dict that is not there"),
    (tensor() + mapping(_metadata=b"}") + b"b", "fills a dict"),
    (b"", "empty stack"), (b"R", "empty stack"), (b"0", "unknown"), (b"t", "a mark that is not there"),
    (number(1) + number(2), "more than one thing"), (b"(" + number(1), "more than one thing|empty"), (b"(\x85", "empty stack"),
    (b"](a", "empty stack"), (number(1) + number(1) + b"a", "fills a list"), (number(1) + b"(u", "fills a dict"),
    (b"}(" + number(1) + b"u", "key without a value"), (b"h\7", "remembers nothing"), (b"j\xff\xff\xff\xff", "remembers nothing"),
    (b"q\1", "empty stack"), (b"X\xff\xff\xff\x7fx", "asks for 2147483647 bytes"),
    (b"\x8d" + b"\xff" * 8, "asks for 18446744073709551615 bytes"), (b"X\x09\0\0\0ab", "too early|asks for"),
    (b"\x8b\xff\xff\xff\x7f", "an integer of 2147483647"), (b"\x8a\xff" + b"\1" * 255, "an integer of 255"),
    (b"X\1\0\0\0\xff", "utf-8"), (b"c" + b"x" * 5000, "more than 255"), (b"\x95" + b"\xff" * 8 + b"N" * 3, "more than one thing"),
    (b"}(" + tensor() + number(1) + b"u", "has the key a tensor"), (b"})(" + b")t" + b"N" + b"u", "key|mark"),
    (b"}(" + b"\x8a\x08" + struct.pack("<q", 2**61) + b"Nu", "has the key 2305843009213693952"),
    (b"()q\0" + MANY + b"t", "nested too deep|too large"), (DEEP, "nested more than|too deep"), (b"]q\0h\0a", "circle"),
    (b"]q\0(h\0h\0h\0e", "circle"),
])
def test_programs_that_are_no_plain_data_are_refused_by_name(tmp_path, body, words):
    refused(tmp_path, zipped(body, {}), f"({words})|differ")
    with pytest.raises((Exception), match=words):  # the machine itself, without the archive around it
        content = program(body)
        machine = torch_file._Machine(io.BytesIO(content), len(content), len(content))
        torch_file._resolve(machine.run())
    refused(tmp_path, legacy(body, {}), f"({words})|not those that are named|pickle|operation|utf-8")


@pytest.mark.parametrize("what, words", [
    ({"offset": -1}, "offset -1"), ({"offset": 1}, "offset 1 of 6 numbers"), ({"shape": (3, 3)}, "of 6 numbers"),
    ({"strides": (-3, 1)}, "strides"), ({"strides": (2**40, 1)}, "of 6 numbers"), ({"shape": (2**62, 2)}, "shape"),
    ({"strides": (1,)}, "with 1 strides"), ({"shape": (1,) * 65, "strides": (0,) * 65}, "with 65 strides"),
    ({"shape": (0,), "strides": (1,), "offset": 7}, "offset 7 of 6"), ({"count": 5}, "of 5 numbers"),
    ({"count": -6}, "a storage that is none"), ({"count": 2**60}, "a storage that is none"), ({"count": 600}, "24 bytes, 2400 are"),
    ({"kind": "QInt8Storage"}, "torch.QInt8Storage"), ({"kind": "DoubleStorage"}, "24 bytes, 48 are declared"),
    ({"kind": "HalfStorage"}, "24 bytes, 12 are declared"), ({"kind": "BoolStorage", "count": 24}, "neither 0 nor 1"),
    ({"key": "1"}, "differ"), ({"key": "../0"}, "a storage that is none"), ({"view": number(1)}, "part of another"),
    ({"shape": (2**20, 2**20), "strides": (0, 0)}, "refused as a bomb"),
    ({"hooks": mapping(a=number(1))}, "with hooks"), ({"rest": mapping(neg=b"\x88")}, "conj, neg"),
])
def test_tensors_that_do_not_fit_are_refused_before_memory_is_asked_for(tmp_path, what, words):
    refused(tmp_path, zipped(mapping(w=tensor(**what))), words)
    refused(tmp_path, legacy(mapping(w=tensor(**what))), f"{words}|not those that are named|numbers need|declared|left over")


def test_two_tensors_cannot_disagree_about_their_numbers(tmp_path):
    refused(tmp_path, zipped(mapping(a=tensor(), b=tensor(kind="IntStorage"))), "declared twice")


@pytest.mark.parametrize("content, words", [
    (zipped(mapping(w=tensor()), root=""), None),
    (zipped(mapping(w=tensor()), root="/"), "no plain file"),
    (zipped(mapping(w=tensor()), extra=[("archive/../x", "")]), "no plain file"),
    (zipped(mapping(w=tensor()), extra=[("other/x", "")]), "outside its folder"),
    (zipped(mapping(w=tensor()), extra=[("archive/code/x.py", "")]), "TorchScript"),
    (zipped(mapping(w=tensor()), extra=[("archive/.data/serialization_id", "1")]), None),
    (zipped(mapping(w=tensor()), byteorder="middle"), "byteorder"),
    (zipped(mapping(w=tensor()), method=zipfile.ZIP_DEFLATED), "compressed"),
    (zipped(mapping(w=tensor()), {"0": NUMBERS.tobytes(), "1": b""}), "differ"), (zipped(mapping(w=tensor()) + b".N"), "goes on"),
    (zipped(mapping(w=tensor()), {"0": NUMBERS.tobytes()[:-1]}), "23 bytes, 24"),
    (legacy(mapping(w=tensor()), little=b"\x89"), "high byte"), (legacy(mapping(w=tensor()), protocol=1000), "version 1000"),
    (legacy(mapping(w=tensor())) + b"x", "it has 33"), (legacy(mapping(w=tensor()))[:-1], "it has 31"),
    (legacy(mapping(w=tensor()), counts={"0": 5}), "5 numbers, 6 are"),
    (legacy(mapping(w=tensor()), keys=["1"]), "not those that are"),
    (legacy(mapping(w=tensor()), keys=["0", "0"]), "not those that are"), (program(torch_file.MAGIC[:-1]), "too early|asks for"),
])
def test_archives_that_are_none_of_pytorchs(tmp_path, content, words):
    if words is None:
        assert list(read(tmp_path, content)) == ["w"]
    else:
        refused(tmp_path, content, words)


def test_links_in_the_archive_are_refused(tmp_path):
    out = io.BytesIO(zipped(mapping(w=tensor())))
    link = zipfile.ZipInfo("archive/data/1")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(link, "/etc/hostname")
    refused(tmp_path, out.getvalue(), "no plain file")


def test_work_and_memory_end(tmp_path):
    """Millions of operations; one list taken up again and again; keys that would all collide: each ends within seconds."""
    pairs = b"]q\0(" + b"(NNt" * 100_000 + b"e"
    again = pairs + b"(" + (name("collections", "OrderedDict") + b"(h\0tR") * 100 + b"t"
    refused(tmp_path, zipped(b"N" * 5_000_000, {}), "more than 4000000 operations")
    refused(tmp_path, zipped(again, {}), "operations|key")
    shared = b"".join(tensor((6,), (1,)) for _ in range(20_000))
    assert len(read(tmp_path, zipped(b"](" + shared + b"e"))) == 20_000  # the file is larger than what it holds
    refused(tmp_path, legacy(b"](" + tensor((1_000_000,), (0,)) * 200 + b"e"), "refused as a bomb")


class Hostile:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_runs(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"w": Hostile()}, protocol))
    with pytest.raises(CheckpointError):
        load_torch("w.pth")
    body = pickle.dumps({"w": Hostile()}, protocol)
    refused(tmp_path, zipped(body[2:-1] if protocol > 1 else body[:-1], {}), "names (posix|nt).system|is not run")
    refused(tmp_path, legacy(body[2:-1] if protocol > 1 else body[:-1], {}), "names (posix|nt).system|is not run")
    assert not (tmp_path / "ran").exists()


def test_the_reader_imports_neither_pickle_nor_pytorch():
    tree = ast.parse(Path(torch_file.__file__).read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules == {"io", "re", "stat", "struct", "numpy"}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"eval", "exec", "getattr", "__import__", "compile", "open"}


@given(st.data())
@settings(max_examples=150)
def test_mutated_files_load_equal_or_raise_the_one_error(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    build = data.draw(st.sampled_from([zipped, legacy]))
    content = bytearray(build(mapping(w=tensor(), state=mapping(v=tensor((2,), (1,), 2), n=number(3)))))
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(content)))
        content[i:i + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    (folder / "m.pth").write_bytes(content)
    try:
        found = load_torch(folder / "m.pth")
    except CheckpointError:
        return
    if build is zipped:
        np.testing.assert_array_equal(found["w"], NUMBERS.reshape(2, 3))
        np.testing.assert_array_equal(found["state"]["v"], [2, 3])


# ---- files that PyTorch wrote


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("new", [True, False])
def test_what_pytorch_wrote_comes_back_equal(tmp_path, new, protocol):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.LSTM(4, 2))
    adam = torch.optim.Adam(network[:2].parameters())
    network[:2](torch.ones(2, 3, 5, 5)).sum().backward()
    adam.step()
    base = torch.arange(120.0).reshape(2, 3, 4, 5)
    kinds = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int16, torch.int32, torch.int64,
             torch.uint8, torch.bool, torch.complex64, *([torch.uint16] if new else [])]
    tensors = {f"{kind}": torch.tensor([0, 1, 1]).to(kind) for kind in kinds} | {
        "last": base.to(memory_format=torch.channels_last), "turned": base.permute(3, 1, 0, 2), "part": base[:, 1:, ::2, 1:3],
        "wide": base[:, :1].expand(2, 7, 4, 5), "all": base, "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)), "nan": torch.tensor([float("nan"), float("inf"), -0.0])}
    torch.save({"state_dict": {**network.state_dict(), **tensors}, "adam": adam.state_dict(), "epoch": 3, "size": base.shape,
                "note": ("ä", None, [True, 1.5])}, tmp_path / "w.bin", _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    found = load_weights(tmp_path / "w.bin")
    for key, value in {**network.state_dict(), **tensors}.items():
        value = value.detach()
        value = value.float() if value.dtype == torch.bfloat16 else value
        np.testing.assert_array_equal(found[key], value.numpy(), err_msg=key)
        assert found[key].dtype == value.numpy().dtype
    whole = load_torch(tmp_path / "w.bin")
    assert whole["epoch"] == 3 and whole["size"] == (2, 3, 4, 5) and whole["note"] == ("ä", None, [True, 1.5])
    np.testing.assert_array_equal(whole["adam"]["state"][0]["exp_avg"], adam.state_dict()["state"][0]["exp_avg"].numpy())
    assert whole["adam"]["param_groups"][0]["betas"] == (0.9, 0.999)


def test_what_pytorch_writes_beside_weights_is_named(tmp_path):
    torch = pytest.importorskip("torch")
    for value, words in ((torch.nn.Linear(2, 2), "Linear"), (np.ones(2), "numpy"), ({1, 2}, "builtin.*set"),
                         (torch.eye(2).to_sparse(), "sparse"), (print, "print"),
                         (torch.nn.functional.relu, "relu"), (torch.device("cpu"), "torch.device")):
        for new in (True, False):
            torch.save({"x": value}, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
            with pytest.raises(CheckpointError, match=words):
                load_torch(tmp_path / "x.pt")
