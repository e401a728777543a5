"""IDX and CIFAR readers: what is written comes back; anything else is the one documented error."""

import gzip
import io
import os
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.data import DataError, load
from minigrad.data.formats import read_cifar10, read_idx

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}
real = pytest.mark.skipif(not os.path.isdir(os.path.join(os.environ.get("MINIGRAD_DATA", "absent"), "mnist")),
                          reason="real data: set MINIGRAD_DATA")


def idx(array) -> bytes:
    code = CODES[array.dtype.str.lstrip("|")]
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


@given(st.sampled_from(sorted(CODES)).flatmap(
    lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))), st.booleans())
def test_idx_round_trip(folder, array, packed):
    path = folder / "x.idx"
    path.write_bytes(gzip.compress(idx(array), 1, mtime=0) if packed else idx(array))
    found = read_idx(path)
    assert found.shape == array.shape and found.dtype.isnative
    assert np.array_equal(found, array, equal_nan=array.dtype.kind == "f")


GOOD = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def gives_array_or_the_one_error(path):
    try:
        found = read_idx(path)
    except DataError as error:
        assert error.path == str(path) and error.reason and str(path) in str(error)
    else:
        assert isinstance(found, np.ndarray) and found.nbytes < 10_000


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_give_an_array_or_the_one_error(folder, content, packed):
    path = folder / "noise.idx"
    path.write_bytes(gzip.compress(content, 1, mtime=0) if packed else content)
    gives_array_or_the_one_error(path)


@given(st.data())
@settings(max_examples=200)
def test_mutated_files_give_an_array_or_the_one_error(folder, data):
    path = folder / "mutated.idx"
    layers = data.draw(st.sampled_from(["plain", "inside gzip", "gzip"]))
    content = bytearray(gzip.compress(idx(GOOD), 1, mtime=0) if layers == "gzip" else idx(GOOD))
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(content)))
        content[i:i + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path.write_bytes(gzip.compress(bytes(content), 1, mtime=0) if layers == "inside gzip" else bytes(content))
    gives_array_or_the_one_error(path)


HEADER = b"\0\0\x08\3"


@pytest.mark.parametrize("content, words", [
    (b"", "begins with nothing"),
    (b"\0\0\x07\3" + bytes(20), "begins with 00 00 07 03"),
    (b"<html>404</html>", "not an IDX file"),
    (HEADER + struct.pack(">3I", 10**9, 10**9, 10**9) + bytes(100), "more than the file can hold"),
    (gzip.compress(HEADER + struct.pack(">3I", 2**31, 2**31, 1), mtime=0), "more than the file can hold"),
    (idx(GOOD)[:-1], "more than the file can hold"),
    (gzip.compress(idx(GOOD)[:-1], mtime=0), "truncated: shape"),
    (gzip.compress(idx(GOOD), mtime=0)[:-9], "truncated"),
    (gzip.compress(idx(GOOD), mtime=0)[:12], "truncated gzip|truncated"),
    (gzip.compress(idx(GOOD) + b"x", mtime=0), "longer"),
    (idx(GOOD) + b"x", "longer"),
    (idx(GOOD)[:9], "truncated in its header"),
    (idx(GOOD[0]), "2 axes, expected 3"),
    (b"\0\0\x08\xff" + bytes(255 * 4), "255 axes"),
    (gzip.compress(idx(GOOD), mtime=0)[:-8] + bytes(8), "CRC"),
])
def test_each_damage_is_named(tmp_path, content, words):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_idx(path, ndim=3)
    assert caught.value.remedy


@pytest.mark.parametrize("read", [read_idx, lambda path: read_cifar10(path, train=True)])
def test_pipes_and_devices_are_refused_and_nothing_waits(tmp_path, read):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes in files on this system")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(DataError, match="not a file"):
            read(path)
    (tmp_path / "batches").mkdir()
    os.symlink("/dev/zero", tmp_path / "batches" / "test_batch.bin")
    with pytest.raises(DataError, match="not a file"):
        read_cifar10(tmp_path / "batches", train=False)


def test_compressed_zeros_load_and_bombs_ask_for_no_memory(tmp_path):
    """32 MB of zeros are 32 kB; a 2 MB file that declares 3 GB (what 1032 : 1 would allow) is refused before it is read."""
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(HEADER + struct.pack(">3I", 32, 1024, 1024) + bytes(32 << 20)))
    assert path.stat().st_size < 1 << 16 and not read_idx(path).any()
    path.write_bytes(gzip.compress(HEADER + struct.pack(">3I", 3, 1 << 15, 1 << 15), mtime=0) + bytes(2 << 20))
    tracemalloc.start()
    with pytest.raises(DataError, match="more than the file can hold"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


def test_gzip_bomb_is_not_unpacked(tmp_path):
    """16 MB of zeros behind a header that declares 12 bytes: read up to the thirteenth."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(HEADER + struct.pack(">3I", 1, 3, 4) + bytes(1 << 24)))
    with pytest.raises(DataError, match="longer"):
        read_idx(path)


@pytest.fixture
def mnist_files(tmp_path, monkeypatch):
    """Writes a tiny MNIST; arguments replace its arrays."""
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))

    def write(images=None, labels=None, stem="train", name="mnist"):
        images = np.zeros((3, 28, 28), np.uint8) if images is None else images
        labels = np.arange(3, dtype=np.uint8) if labels is None else labels
        os.makedirs(tmp_path / name, exist_ok=True)
        (tmp_path / name / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images), mtime=0))
        (tmp_path / name / f"{stem}-labels-idx1-ubyte").write_bytes(idx(labels))
        return tmp_path / name
    return write


def test_mnist_from_files(mnist_files):
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    mnist_files(images)
    mnist_files(images[:2], np.uint8([7, 8]), "t10k")
    train, test = load("mnist"), load("mnist", train=False)
    assert np.array_equal(train.x[:, 0], images) and train.x.shape == (3, 1, 28, 28) and train.y.tolist() == [0, 1, 2]
    assert test.y.tolist() == [7, 8] and test.classes[7] == "7"
    assert train.x.transpose(0, 2, 3, 1).flags.c_contiguous
    mnist_files(images, name="fashion-mnist")
    assert load("fashion-mnist", limit=2).classes[9] == "ankle boot" and len(load("fashion-mnist", limit=2)) == 2


@pytest.mark.parametrize("images, labels, words", [
    (np.zeros((3, 27, 28), np.uint8), None, r"\(27, 28\)"),
    (np.zeros((3, 28, 28), ">f4"), None, "float32"),
    (None, np.uint8([1, 2]), "2 labels"),
    (None, np.uint8([1, 2, 10]), "label 10"),
    (np.zeros((3, 28), np.uint8), None, "2 axes"),
])
def test_mnist_of_wrong_content_is_refused(mnist_files, images, labels, words):
    mnist_files(images, labels)
    with pytest.raises(DataError, match=words):
        load("mnist")


# ---- CIFAR-10


def cifar_archive(path, members):
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in members:
            info = tarfile.TarInfo("cifar-10-batches-bin/" + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture(scope="module")
def batch():
    records = np.zeros((10_000, 3073), np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    records[:, 1] = np.arange(10_000) % 251
    return records


def test_cifar_from_the_archive_and_from_a_folder(tmp_path, batch, monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    os.makedirs(tmp_path / "cifar10")
    names = [f"data_batch_{i}.bin" for i in range(1, 6)]
    cifar_archive(tmp_path / "cifar10" / "cifar-10-binary.tar.gz",
                  [("readme.html", b"x"), *((name, batch.tobytes()) for name in (*reversed(names), "test_batch.bin"))])
    train, test = load("cifar10"), load("cifar10", train=False)
    assert train.x.shape == (50_000, 3, 32, 32) and test.x.shape == (10_000, 3, 32, 32)
    assert np.array_equal(test.x[:, 0, 0, 0], batch[:, 1]) and test.classes[test.y[3]] == "cat"
    os.makedirs(tmp_path / "files")
    (tmp_path / "files" / "test_batch.bin").write_bytes(batch[:7].tobytes())
    x, y = read_cifar10(tmp_path / "files", train=False)
    assert x.shape == (7, 3, 32, 32) and y.tolist() == list(range(7))


@pytest.mark.parametrize("members, words", [
    ([], "has no test_batch.bin"),
    ([("test_batch.bin", b"short")], "has 5 bytes"),
    ([("data_batch_1", b"pickle")], "pickled version"),
])
def test_damaged_cifar_archives_are_refused(tmp_path, members, words):
    cifar_archive(tmp_path / "x.tar.gz", members)
    with pytest.raises(DataError, match=words):
        read_cifar10(tmp_path / "x.tar.gz", train=False)


def damage_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_cifar10(path, train=False)
    assert "--download" in str(caught.value)


def test_the_archives_checksum_and_length_are_compared(tmp_path, batch):
    """Flipped bits are refused, whichever member they hit; and whatever stands behind the archive."""
    path, rng = tmp_path / "x.tar.gz", np.random.default_rng(0)
    batch = batch.copy()
    batch[:, 1:300] = rng.integers(0, 256, (10_000, 299))  # among zeros a changed distance gives the same bytes
    cifar_archive(path, [("test_batch.bin", batch.tobytes()), ("data_batch_1.bin", bytes(30_730_000))])
    content = path.read_bytes()
    for i in rng.integers(64, len(content) * 9 // 10, 12):
        damage_is_refused(path, content[:i] + bytes([content[i] ^ (1 << int(rng.integers(8)))]) + content[i + 1:])
    for tail in (content[:-8] + bytes(4) + content[-4:], content[:-4] + bytes(4), content[:-1], content + b"x"):
        damage_is_refused(path, tail)
    plain = gzip.decompress(content)
    damage_is_refused(path, gzip.compress(plain + b"more", 1))
    damage_is_refused(path, gzip.compress(plain[:124] + b"00000000009\0" + plain[136:], 1))  # a size that its sum denies
    damage_is_refused(path, gzip.compress(bytes(1 << 29), 1))


def test_cifar_label_out_of_range_and_truncation(tmp_path, batch):
    wrong = batch.copy()
    wrong[5, 0] = 10
    cifar_archive(tmp_path / "x.tar.gz", [("test_batch.bin", wrong.tobytes())])
    with pytest.raises(DataError, match="label 10"):
        read_cifar10(tmp_path / "x.tar.gz", train=False)
    content = (tmp_path / "x.tar.gz").read_bytes()
    for cut in (0, 1, 10, 200, len(content) // 2):
        (tmp_path / "x.tar.gz").write_bytes(content[:cut])
        with pytest.raises(DataError):
            read_cifar10(tmp_path / "x.tar.gz", train=False)


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_any_bytes_are_refused_as_an_archive(folder, content):
    (folder / "noise.tar.gz").write_bytes(content)
    with pytest.raises(DataError):
        read_cifar10(folder / "noise.tar.gz", train=True)


# ---- the real thing


@real
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_sets(name):
    train, test = load(name), load(name, train=False)
    assert train.x.shape == (60_000, 1, 28, 28) and test.x.shape == (10_000, 1, 28, 28)
    assert train.y[:5].tolist() == {"mnist": [5, 0, 4, 1, 9], "fashion-mnist": [9, 0, 0, 3, 0]}[name]


@real
def test_real_cifar_subset_says_that_it_is_one():
    train = load("cifar10")
    assert train.x.shape[1:] == (3, 32, 32) and (len(train) == 50_000 or "subset" in train.source)
