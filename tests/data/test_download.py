"""Downloads against a local server: good, truncated, wrong checksum, 404, interrupted and resumed, no Range support."""

import gzip
import hashlib
import http.server
import os
import struct
import threading
import time

import numpy as np
import pytest

from minigrad.data import DataError, download, load, standard

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """/MODE/...: what the server does wrong is in the address. `requests` records (path, Range)."""

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append((self.path, wanted))
        mode = self.path.split("/")[1]
        content = server.files.get(self.path.rsplit("/", 1)[-1], CONTENT)
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and mode != "norange" else 0
        if mode == "missing":
            return self.send_error(404)
        if mode == "busy" and len(server.requests) < 3:
            return self.send_error(503)
        if mode == "wrong":
            content = bytes(len(content))
        if start >= len(content) and wanted and mode != "norange":
            return self.send_error(416)
        if mode == "truncated":
            content = content[:1000]
        if mode == "silent":
            server.stop.wait(20)
            return None
        if mode == "drip":  # a byte at a time: the socket's own timeout never comes
            self.send_response(200)
            self.end_headers()
            while not server.stop.wait(0.02):
                self.wfile.write(b"x")
            return None
        if mode == "driphead":
            while not server.stop.wait(0.02):
                self.wfile.write(b"H")
            return None
        body = content[start:]
        self.send_response(206 if start else 200)
        if mode == "liar" and start:
            self.send_header("Content-Range", f"bytes 0-{len(content) - 1}/{len(content)}")
        elif start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if mode != "nolength":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # an interrupting server declares everything and sends a third of it
        self.wfile.write(body[:100_000] if mode == "interrupted" else body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def running():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.stop = threading.Event()
    yield server
    server.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(running, monkeypatch):
    running.requests, running.files = [], {}
    monkeypatch.setattr(download, "PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running.at = lambda mode, file="file.gz": f"http://127.0.0.1:{running.server_port}/{mode}/{file}"
    return running


def fetch(addresses, path, **options):
    return download.fetch(addresses, path, **{"sha256": SHA, "size": len(CONTENT), "progress": False, **options})


@pytest.mark.parametrize("mode", ["good", "norange", "nolength", "busy", "interrupted"])
@pytest.mark.parametrize("checks", [{}, {"sha256": None, "size": None, "md5": MD5}])
def test_good_file_arrives_whole(server, tmp_path, mode, checks):
    path = tmp_path / "sub" / "file.gz"
    assert fetch([server.at(mode)], path, **checks) == str(path)
    assert path.read_bytes() == CONTENT and os.listdir(tmp_path / "sub") == ["file.gz"]
    if mode == "interrupted":
        assert [r for _, r in server.requests] == [None, "bytes=100000-", "bytes=200000-"]


def test_a_good_file_is_not_asked_for_again(server, tmp_path):
    fetch([server.at("good")], tmp_path / "f")
    fetch([server.at("missing")], tmp_path / "f")
    assert len(server.requests) == 1
    (tmp_path / "f").write_bytes(b"damaged")
    fetch([server.at("good")], tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("mode, first", [("good", "bytes=5000-"), ("norange", "bytes=5000-"), ("liar", "bytes=5000-")])
def test_partial_file_is_resumed(server, tmp_path, mode, first):
    (tmp_path / "f.part").write_bytes(CONTENT[:5000])
    fetch([server.at(mode)], tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT and server.requests[0][1] == first


def test_spoilt_partial_file_is_started_again(server, tmp_path):
    for spoilt in (b"x" * 5000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 10), CONTENT):
        (tmp_path / "f.part").write_bytes(spoilt)
        fetch([server.at("good")], tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == CONTENT
        (tmp_path / "f").unlink()


def test_next_mirror_is_tried(server, tmp_path):
    bad = [server.at(mode) for mode in ("missing", "wrong", "truncated")]
    fetch([*bad, server.at("good")], tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("mode, words", [
    ("missing", "404"),
    ("wrong", f"expected {SHA}, got {hashlib.sha256(bytes(len(CONTENT))).hexdigest()}"),
    ("truncated", f"1000 bytes, expected {len(CONTENT)}"),
])
def test_failure_names_address_digests_and_remedy(server, tmp_path, mode, words):
    with pytest.raises(DataError) as caught:
        fetch([server.at(mode)], tmp_path / "f")
    text = str(caught.value)
    assert words in text and server.at(mode) in text and "MINIGRAD_MIRROR" in text and str(tmp_path / "f") in text
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("mode, words", [("silent", "no answer in|timed out"), ("drip", "too slow"), ("driphead", "no answer in")])
def test_slow_servers_are_left_for_the_next(server, tmp_path, monkeypatch, mode, words):
    monkeypatch.setattr(download, "PATIENCE", 0.3)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    start = time.monotonic()
    with pytest.raises(DataError, match=words):
        fetch([server.at(mode)], tmp_path / "f")
    assert time.monotonic() - start < 5
    fetch([server.at(mode), server.at("good")], tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_no_server_and_no_network(server, tmp_path):
    with pytest.raises(DataError, match="127.0.0.1:9"):
        fetch(["http://127.0.0.1:9/x"], tmp_path / "f")
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch(["nonsense"], tmp_path / "f")


def test_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="MINIGRAD_DATA"):
        fetch([server.at("good")], tmp_path / "file" / "f")


def test_two_at_once(server, tmp_path):
    if download.fcntl is None:
        pytest.skip("no file locks on this system")
    with open(tmp_path / "f.part", "ab") as other:
        download.fcntl.flock(other, download.fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process"):
            fetch([server.at("good")], tmp_path / "f")


def test_verify(tmp_path):
    (tmp_path / "f").write_bytes(CONTENT)
    download.verify(tmp_path / "f", sha256=SHA, md5=MD5, size=len(CONTENT))
    with pytest.raises(DataError, match="wrong md5"):
        download.verify(tmp_path / "f", md5="0" * 32)


# ---- through load()


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_mnist_through_a_mirror(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MINIGRAD_MIRROR", server.at("good", ""))
    images, labels = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
    server.files = {images: gzip.compress(idx(np.full((4, 28, 28), 9, np.uint8))),
                    labels: gzip.compress(idx(np.arange(4, dtype=np.uint8)))}
    monkeypatch.setitem(standard.SETS, "mnist", (["http://127.0.0.1:9/"], {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in server.files.items()}))
    with pytest.raises(DataError, match="--data mnist --download") as caught:
        load("mnist")
    assert "MINIGRAD_DATA" in caught.value.remedy and server.requests == []
    assert load("mnist", download=True).y.tolist() == [0, 1, 2, 3]
    assert [path for path, _ in server.requests] == [f"/good/mnist/{images}", f"/good/mnist/{labels}"]
    assert len(load("mnist")) == 4


def test_published_sizes_and_digests_are_those_of_the_real_files():
    root = os.environ.get("MINIGRAD_DATA", "absent")
    if not os.path.isdir(os.path.join(root, "mnist")):
        pytest.skip("real data: set MINIGRAD_DATA")
    for name in ("mnist", "fashion-mnist"):
        for file, (size, sha256) in standard.SETS[name][1].items():
            download.verify(os.path.join(root, name, file), size=size, sha256=sha256)
