"""Feature nets: one meaning for nets of any origin, their scale, what is kept, and which files are taken for what they are."""

import functools

import numpy as np
import pytest

import minigrad as mg
from minigrad import checkpoint, data, nn
from minigrad.data import DataError
from minigrad.gradcheck import check_grads
from minigrad.random import Stream, Streams
from nets import features
from nets.features import FeatureNet, calibrated, digest, small_net, turned
from nets.imagenet import squeezenet, vgg


def pictures(n=8, channels=3, size=16, seed=0):
    return data.Dataset(np.random.default_rng(seed).integers(0, 256, (n, channels, size, size)).astype(np.uint8))


# ---- the module


@pytest.mark.parametrize("factor", [1e-3, 1.0, 400.0])
def test_features_have_a_root_mean_square_of_one_whatever_the_net_was_trained_on(factor):
    x = pictures().normalised()
    net = FeatureNet("n", "l", 1, nn.Conv2d(3, 4, 3, rng=Stream(0)), lambda images: images * factor)
    for _ in range(2):  # calibrating again changes nothing
        y = calibrated(net, x)(mg.tensor(x)).numpy()
        assert np.sqrt((y.astype(np.float64) ** 2).mean()) == pytest.approx(1, rel=1e-5)
    assert not any(p.requires_grad for p in net.parameters()) and not net.network.training


def test_only_the_first_256_pictures_set_the_scale():
    x = pictures(260, size=8).normalised()
    net = calibrated(features.random(3, 8, Streams(0)), x)
    scale = net.scale
    assert calibrated(net, x[:256]).scale == scale != calibrated(net, x[1:257]).scale


def test_a_net_that_answers_nothing_is_refused():
    dead = nn.Conv2d(3, 1, 1, rng=Stream(0))
    dead.load_state_dict({name: np.zeros_like(value) for name, value in dead.state_dict().items()})
    with pytest.raises(ValueError, match="root mean square of 0"):
        calibrated(FeatureNet("n", "l", 1, dead, lambda images: images), pictures().normalised())


def test_a_digest_tells_weights_apart_and_nothing_else():
    a, b = (small_net(3, Stream(0)) for _ in range(2))
    assert digest(a) == digest(b) != digest(small_net(3, Stream(1)))
    b.load_state_dict({name: np.nextafter(v, np.float32(9)) if name == "0.bias" else v for name, v in b.state_dict().items()})
    assert digest(a) != digest(b) and len(digest(a)) == 16


# ---- made here


@pytest.mark.parametrize("size, layer, stride, places", [(32, "conv2_2", 2, 16), (64, "conv3_2", 4, 16), (128, "conv4_2", 8, 16),
                                                         (256, "conv4_2", 8, 32)])
def test_the_layer_has_16_places_on_a_side_or_more_and_no_activation(size, layer, stride, places):
    net = features.random(3, size, Streams(0))
    assert (net.name, net.layer, net.stride) == ("random", layer, stride) and isinstance(net.network[-1], nn.Conv2d)
    y = net(mg.tensor(pictures(1, size=size).normalised()))
    assert y.shape[2:] == (places, places) and y.numpy().min() < 0
    kinds = [type(layer).__name__ for layer in net.network]
    assert kinds.count("MaxPool2d") == int(np.log2(stride)) and kinds[:3] == ["Conv2d", "ReLU", "Conv2d"]


def test_the_pretext_shows_each_picture_in_four_turns_and_half_of_them_grey():
    x = pictures(4, size=6).normalised()
    kept = x.copy()
    (y, turns) = next(turned(iter([(x, None)])))
    assert turns.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    for k in range(4):
        np.testing.assert_array_equal(y[4 * k : 4 * k + 4], np.rot90(y[:4], k, (2, 3)))
    np.testing.assert_array_equal(y[:4:2], x[::2])
    np.testing.assert_allclose(y[1], np.repeat(x[1].mean(0, keepdims=True), 3, 0), atol=1e-6)
    np.testing.assert_array_equal(x, kept)


def test_own_learns_the_turns_is_kept_and_the_same_seed_repeats_it(tmp_path):
    slope = np.linspace(0, 255, 16)[:, None].repeat(16, 1)  # bright below, in every picture
    photos = data.Dataset(np.clip(slope + np.random.default_rng(0).normal(0, 20, (16, 3, 16, 16)), 0, 255).astype(np.uint8))
    path, told = str(tmp_path / "features.npz"), []
    first = features.own(photos, 16, Streams(0), path, steps=12, after=lambda: told.append(1))
    assert first.name == "own" and len(told) == 12 and not any(p.requires_grad for p in first.parameters())
    start = features.random(3, 16, Streams(0))
    assert start.digest != first.digest
    again = features.own(photos, 16, Streams(0), steps=12)
    assert again.digest == first.digest
    assert features.own(photos, 16, Streams(7), path, steps=10**9).digest == first.digest  # taken from the file, not trained
    checkpoint.save(path, {"network": small_net(1, Stream(0)).state_dict()})
    with pytest.raises(checkpoint.CheckpointError, match="features.npz: not the feature net of this run"):
        features.own(photos, 16, Streams(0), path)


def test_gradients_of_second_order_pass_through_the_features():
    net = features.random(1, 8, Streams(0)).to(mg.float64)
    net.scale = 0.7
    x = mg.tensor(Stream(0).normal((1, 1, 8, 8)).astype(np.float64), requires_grad=True)
    check_grads(lambda x: (net(x) ** 2).mean(), [x], order=2)


# ---- from files


@functools.cache
def drawn_once():
    rng = np.random.default_rng(0)
    return {name: (rng.normal(size=v.shape) * (0.05 if v.ndim == 4 else 0.1)).astype(np.float32) for name, v in
            vgg.Vgg19(rng=Stream(0)).state_dict().items()}


def vgg_state():
    """Weights of VGG-19 as far as conv4_4, drawn; the dict is one's own, the arrays are not."""
    return dict(drawn_once())


@pytest.fixture(scope="module")
def torchvision(tmp_path_factory):
    """A file of VGG-19 under torchvision's names, with layers behind conv4_4."""
    path = str(tmp_path_factory.mktemp("vgg") / "vgg19.npz")
    checkpoint.save_weights(path, {**vgg_state(), "features.28.weight": np.zeros((1, 1), np.float32),
                                   "features.34.weight": np.zeros((1, 1), np.float32)})
    return path


def test_vgg19_as_far_as_conv4_4():
    state = vgg.Vgg19(rng=Stream(0)).state_dict()
    places = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25]
    assert sorted(state) == sorted(f"features.{i}.{kind}" for i in places for kind in ("weight", "bias"))
    assert [state[f"features.{i}.weight"].shape[0] for i in places] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 4
    assert list(vgg.keras_names())[-1] == "block4_conv4" and vgg.keras_names()["block3_conv1"] == "features.10"


def test_vgg19_of_torchvision_beside_pytorch(torchvision):
    torch = pytest.importorskip("torch")
    net = features.from_file(torchvision)
    assert (net.name, net.layer, net.stride) == ("vgg19", "conv4_4", 8)
    x = Stream(0).uniform(size=(1, 3, 32, 32)).astype(np.float32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    y = (torch.from_numpy(x) - mean) / std
    state = vgg_state()
    for i in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25):
        if i in (5, 10, 19):
            y = torch.max_pool2d(y, 2)
        y = torch.conv2d(y, *(torch.from_numpy(state[f"features.{i}.{kind}"]) for kind in ("weight", "bias")), padding=1)
        y = y if i == 25 else torch.relu(y)
    found = net(mg.tensor(2 * x - 1)).numpy()
    np.testing.assert_allclose(found, y.numpy(), rtol=2e-3, atol=2e-3 * float(y.abs().max()))
    grey = mg.tensor(2 * x[:, :1] - 1)
    np.testing.assert_array_equal(net(grey).numpy(), net(mg.cat([grey] * 3, 1)).numpy())


@pytest.mark.parametrize("form", ["{}.kernel|{}.bias", "{0}/{0}_W_1:0|{0}/{0}_b_1:0", "layers/{}/kernel:0|layers/{}/bias:0"])
def test_vgg19_of_keras_is_the_same_net_with_the_normalisation_of_its_file(form, tmp_path):
    """Keras's weights were trained on BGR from 0 to 255 less the mean, torchvision's on RGB over the standard deviation."""
    state, weight, bias = vgg_state(), *form.split("|")
    back = {place: name for name, place in vgg.keras_names().items()}
    given = {}
    for name, array in state.items():
        place, kind = name.rsplit(".", 1)
        given[(weight if kind == "weight" else bias).format(back[place])] = \
            array.transpose(2, 3, 1, 0) if kind == "weight" else array
    path = str(tmp_path / "keras.npz")
    checkpoint.save_weights(path, given)
    net = features.from_file(path)
    assert net.name == "vgg19"
    plain = vgg.Vgg19(rng=Stream(0))
    plain.load_state_dict(state)
    x = Stream(0).uniform(size=(1, 3, 16, 16)).astype(np.float32)
    caffe = 255 * x[:, ::-1] - np.array([103.939, 116.779, 123.68], np.float32).reshape(3, 1, 1)
    expected = plain.features(mg.tensor(caffe)).detach().numpy()
    np.testing.assert_allclose(net(mg.tensor(2 * x - 1)).numpy(), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("spoil, message", [
    (lambda s: s.pop("features.25.bias"), "features.25.bias is missing"),
    (lambda s: s.update({"features.5.weight": s["features.5.weight"][:, :9]}), "features.5.weight is float32"),
    (lambda s: s.update({"features.7.bias": s["features.7.bias"] * np.nan}), "features.7.bias holds NaN"),
    (lambda s: s.update({"features.0.weight": s["features.0.weight"].astype(int)}), "features.0.weight is int"),
    (lambda s: s.update({"features.28.weight": np.zeros((1, 1), np.float32)}), "it ends where VGG-16 does"),
])
def test_what_is_no_vgg19_is_told(spoil, message, tmp_path):
    state, path = vgg_state(), str(tmp_path / "x.npz")
    spoil(state)
    checkpoint.save_weights(path, state)
    with pytest.raises(checkpoint.CheckpointError, match=f"x.npz: not the weights of VGG-19: .*{message}"):
        features.from_file(path)


def test_squeezenet_from_a_file_gives_fire8_before_its_activation(tmp_path):
    whole = squeezenet.SqueezeNet(rng=Stream(0))
    given = {squeezenet.file_name(name): value for name, value in whole.state_dict().items()}
    given["conv1.weight"] = given["conv1.weight"][:, ::-1]  # the file has BGR
    path = str(tmp_path / "squeezenet.npz")
    checkpoint.save_weights(path, given)
    net = features.from_file(path)
    assert (net.name, net.layer, net.stride) == ("squeezenet1_0", "fire8 expand", 8)
    x = Stream(1).uniform(size=(2, 3, 64, 64)).astype(np.float32)
    hidden = mg.tensor(x) * 255.0 - whole.mean
    for name, layer in whole.layers.named_children():
        hidden = layer(hidden)
        if name == "fire8":
            break
    found = net(mg.tensor(2 * x - 1)).numpy()
    assert found.shape == (2, 512, 7, 7) and found.min() < 0
    np.testing.assert_allclose(np.maximum(found, 0), hidden.detach().numpy(), rtol=1e-4, atol=1e-3 * np.abs(found).max())


def test_other_files_are_refused(tmp_path):
    path = str(tmp_path / "x.npz")
    checkpoint.save_weights(path, {"conv1.weight": np.zeros(3, np.float32)})
    with pytest.raises(checkpoint.CheckpointError, match="neither SqueezeNet 1.0 nor VGG-19; it begins with conv1.weight"):
        features.from_file(path)
    with pytest.raises(DataError, match="no such file of weights"):
        features.from_file(str(tmp_path / "none.npz"))
