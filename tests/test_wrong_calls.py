"""Wrong calls that a student makes. Each message names the function, the values and the remedy.

`python tests/test_wrong_calls.py` prints them all, for reading.
"""

import gzip
import os
import re
import struct
import tempfile

import numpy as np
import pytest

import minigrad as mg
from gan import __main__ as gan_main
from minigrad import checkpoint, command, data, nn, optim
from minigrad import functional as F
from minigrad.data.formats import read_idx
from minigrad.run import Run


def zeros(*shape):
    return mg.zeros(*shape)


def idx(content, packed=True):
    path = os.path.join(tempfile.mkdtemp(), "images-idx3-ubyte" + (".gz" if packed else ""))
    with open(path, "wb") as file:
        file.write(content)
    return path


GOOD = struct.pack(">IIII", 2051, 2, 3, 3) + bytes(18)


def damaged_checkpoint():
    path = os.path.join(tempfile.mkdtemp(), "step.npz")
    checkpoint.save(path, {"w": np.arange(1000.0)})
    content = bytearray(open(path, "rb").read())
    content[len(content) // 2] ^= 255
    open(path, "wb").write(content)
    return path


def wrong_checkpoint():
    nn.Linear(3, 4).load_state_dict(nn.Linear(3, 5).state_dict())


def stepped_too_early():
    layer = nn.Linear(3, 2)
    sgd = optim.SGD(layer.parameters(), lr=0.1)
    layer(zeros(1, 3)).sum().backward()
    hidden = mg.ones(1, 3, requires_grad=True)
    loss = layer(hidden).sum()
    sgd.step()
    mg.grad(loss, [hidden])


def unwritable():
    path = os.path.join(tempfile.mkdtemp(), "file")
    open(path, "w").close()
    Run.create("dcgan", {}, root=os.path.join(path, "runs"))


def gan(*argv):
    """The line that a command prints when it fails."""
    import contextlib
    import io

    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        try:
            command.main("gan", gan_main.COMMANDS, list(argv))
        except SystemExit:
            pass
    raise ValueError(err.getvalue().strip())


image, bank = zeros(1, 3, 8, 8), zeros(2, 3, 3, 3)

WRONG = [
    # (what the student types, the error, what must be in the message)
    (lambda: F.conv2d(image, zeros(2, 4, 3, 3)), ValueError, r"conv2d: x has 3 channels but weight .* expects 4 \(groups=1\)"),
    (lambda: F.conv2d(zeros(1, 3, 2, 2), zeros(2, 3, 5, 5)), ValueError, r"conv2d: the height 2 with padding 0 is smaller than"),
    (lambda: F.conv2d(image, bank, stride=0), ValueError, r"conv2d: stride must be at least 1, got 0"),
    (lambda: F.conv2d(image, bank, padding=-1), ValueError, r"conv2d: padding must be at least 0, got -1"),
    (lambda: F.conv2d(image, bank, stride=1.5), TypeError, r"conv2d: stride must be an integer, got 1.5"),
    (lambda: F.conv2d(image, bank.double()), TypeError, r"conv2d: input is float32 but weight is float64"),
    (lambda: F.conv2d(np.zeros((1, 3, 8, 8)), zeros(2, 3, 3, 3)), TypeError, r"conv2d: input must be a Tensor, got ndarray"),
    (lambda: F.linear(zeros(5, 3), zeros(2, 4)), ValueError, r"linear: input \(5, 3\) and weight \(2, 4\)"),
    (lambda: zeros(2, 3) @ zeros(4, 5), ValueError, r"matmul: shapes \(2, 3\) @ \(4, 5\)"),
    (lambda: zeros(2, 3) + zeros(4), ValueError, r"add: shapes \(2, 3\) and \(4,\) do not broadcast"),
    (lambda: zeros(2, 3).reshape(5, -1), ValueError, r"reshape: 6 elements of shape \(2, 3\) do not divide into \(5, -1\)"),
    (lambda: zeros(2, 3).sum(dim=2), ValueError, r"sum: dim 2 is out of range for 2 dimensions"),
    (lambda: mg.cat([zeros(2, 3), zeros(3, 4)]), ValueError, r"cat: tensors\[1\] has shape \(3, 4\)"),
    (lambda: F.cross_entropy(zeros(2, 10), np.array([3, 10])), ValueError, r"cross_entropy: labels must lie in \[0, 10\).*got 10"),
    (lambda: F.cross_entropy(zeros(2, 10), np.array([0.5, 1.0])), (TypeError, ValueError), r"cross_entropy"),
    (lambda: F.embedding(np.array([7]), zeros(5, 2)), ValueError, r"embedding: indices must lie in \[0, 5\), got 7..7"),
    (lambda: zeros(0, 3).mean(), ValueError, r"mean: there is nothing to average .* \(0, 3\)"),
    (lambda: nn.BatchNorm2d(3)(zeros(1, 3, 1, 1)), ValueError, r"BatchNorm2d.*more than one value per channel.*\(1, 3, 1, 1\)"),
    (lambda: mg.zeros(-1, 3), ValueError, r"zeros: sizes must be >= 0, got \(-1, 3\)"),
    (lambda: mg.tensor(["a"]), TypeError, r"tensor: cannot hold list"),
    (lambda: mg.tensor([[1, 2], [3]]), ValueError, r"tensor: the nested list is ragged"),
    (lambda: mg.tensor([1, 2], requires_grad=True), TypeError, r"only floating-point tensors can require a gradient, got int64"),
    (lambda: mg.ones(3, requires_grad=True).backward(), RuntimeError, r"shape \(3,\).*one element.*\.sum\(\)"),
    (lambda: zeros(3).__setitem__(0, 1.0), TypeError, r"not changed in place.*minigrad.where"),
    (stepped_too_early, RuntimeError, r"'weight'.*modified in place.*optimizer.step\(\)"),
    (wrong_checkpoint, ValueError, r"weight.*\(5, 3\).*\(4, 3\)|weight.*\(4, 3\).*\(5, 3\)"),
    (lambda: optim.Adam(nn.Linear(2, 2).parameters(), lr=-1), ValueError, r"Adam.*lr.*-1"),
    (lambda: read_idx(idx(gzip.compress(GOOD[:-4]))), data.DataError, r"images-idx3-ubyte.gz: "),
    (lambda: read_idx(idx(gzip.compress(GOOD)[:-12])), data.DataError, r"images-idx3-ubyte.gz: "),
    (lambda: read_idx(idx(b"\x1f\x8bnot a gzip file")), data.DataError, r"images-idx3-ubyte.gz: "),
    (lambda: checkpoint.load(damaged_checkpoint()), checkpoint.CheckpointError, r"step.npz: "),
    (lambda: data.load("mnits"), ValueError, r"load: unknown data 'mnits'; did you mean 'mnist'"),
    (lambda: Run.resume("nowhere-0001"), Exception, r"nowhere-0001: not a run"),
    (unwritable, Exception, r"cannot be written .*--out"),
    (lambda: gan("dcgan", "--stepz", "10"), ValueError, r"unknown option '--stepz'; did you mean '--steps'"),
    (lambda: gan("dcgan", "--size", "30"), ValueError, r"size 30 is not .*use 28, 32 or 64"),
    (lambda: gan("dcgan", "--device", "tpu"), ValueError, r"invalid choice: 'tpu'"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_the_message_names_function_values_and_remedy(number):
    call, kind, pattern = WRONG[number]
    with pytest.raises(kind) as caught:
        call()
    assert re.search(pattern, str(caught.value)), str(caught.value)


if __name__ == "__main__":
    for i, (call, kind, _) in enumerate(WRONG, 1):
        try:
            call()
        except kind as error:
            print(f"{i:2} {type(error).__name__}: {error}")
