"""The Inception network of FID: names, shapes and counts as published, what differs from torchvision's, files of weights."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.checkpoint import CheckpointError, save_weights
from minigrad.data import DataError
from minigrad.random import Stream
from nets.imagenet import inception
from nets.imagenet.inception import Inception, Unit


@pytest.fixture(scope="module")
def network():
    return Inception(rng=Stream(0, "init")).eval()


def test_it_has_the_published_numbers_of_weights_and_arrays(network):
    """Keras' own: 21,802,784 numbers without the last layer, 34,432 of them moving averages, without batch norm's scales. So there
    are 17,216 channels and 21,751,136 weights of convolutions, to which PyTorch's batch norm adds two numbers a channel."""
    channels = sum(b.numel() for name, b in network.named_buffers() if name.endswith("running_mean"))
    assert channels == 34_432 // 2
    last = 2048 * 1008 + 1008
    assert sum(p.numel() for p in network.parameters()) - last == 21_802_784 - 3 * channels + 2 * channels
    assert len(network.state_dict()) == 94 * 6 + 2  # 94 units: weight, scale, shift, mean, variance, count


def test_names_and_shapes_are_torchvisions(network):
    state = network.state_dict()
    shapes = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "Conv2d_4a_3x3.bn.running_var": (192,),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5), "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
        "Mixed_5d.branch3x3dbl_3.conv.weight": (96, 96, 3, 3), "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
        "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7), "Mixed_6e.branch7x7dbl_4.conv.weight": (192, 192, 7, 1),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3), "Mixed_7b.branch1x1.conv.weight": (320, 1280, 1, 1),
        "Mixed_7c.branch3x3_2a.conv.weight": (384, 384, 1, 3), "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch_pool.bn.bias": (192,), "fc.weight": (1008, 2048), "fc.bias": (1008,),
    }
    assert {name: state[name].shape for name in shapes} == shapes
    assert all(module.bn.eps == 0.001 for module in network.modules() if isinstance(module, Unit))


def test_maps_have_the_papers_sizes_and_the_smallest_picture_is_told(network):
    seen, handles = [], []
    for name in ("Conv2d_1a_3x3", "Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5b", "Mixed_5d", "Mixed_6a", "Mixed_6e", "Mixed_7a",
                 "Mixed_7c"):
        handles.append(getattr(network, name).register_forward_hook(lambda module, args, out: seen.append(out.shape[1:])))
    with mg.no_grad():
        found = network(mg.zeros(1, 3, 299, 299))
    for handle in handles:
        handle.remove()
    assert seen == [(32, 149, 149), (64, 147, 147), (192, 71, 71), (256, 35, 35), (288, 35, 35), (768, 17, 17), (768, 17, 17),
                    (1280, 8, 8), (2048, 8, 8)]
    assert found.shape == (1, 2048)
    with pytest.raises(ValueError, match="75 pixels"):
        network(mg.zeros(1, 3, 28, 28))


def test_blocks_join_their_branches_as_written_out_by_hand(network):
    """Blocks of all kinds against their published formulas in plain calls, on the units of the network itself."""
    F, rng = mg.functional, np.random.default_rng(0)
    draw = lambda c: mg.tensor(rng.normal(size=(1, c, 9, 9)).astype(np.float32))  # noqa: E731
    with mg.no_grad():
        x, b = draw(192), network.Mixed_5b
        mean = lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)  # noqa: E731
        same(b(x), [b.branch1x1(x), b.branch5x5_2(b.branch5x5_1(x)), b.branch3x3dbl_3(b.branch3x3dbl_2(b.branch3x3dbl_1(x))),
                    b.branch_pool(mean(x))])
        x, b = draw(288), network.Mixed_6a
        same(b(x), [b.branch3x3(x), b.branch3x3dbl_3(b.branch3x3dbl_2(b.branch3x3dbl_1(x))), F.max_pool2d(x, 3, 2)])
        x, b = draw(768), network.Mixed_6b
        same(b(x), [b.branch1x1(x), b.branch7x7_3(b.branch7x7_2(b.branch7x7_1(x))),
                    b.branch7x7dbl_5(b.branch7x7dbl_4(b.branch7x7dbl_3(b.branch7x7dbl_2(b.branch7x7dbl_1(x))))),
                    b.branch_pool(mean(x))])
        b = network.Mixed_7a
        same(b(x), [b.branch3x3_2(b.branch3x3_1(x)), b.branch7x7x3_4(b.branch7x7x3_3(b.branch7x7x3_2(b.branch7x7x3_1(x)))),
                    F.max_pool2d(x, 3, 2)])
        for b, channels, pool in ((network.Mixed_7b, 1280, mean), (network.Mixed_7c, 2048, lambda x: F.max_pool2d(x, 3, 1, 1))):
            x = draw(channels)
            one, two = b.branch3x3_1(x), b.branch3x3dbl_2(b.branch3x3dbl_1(x))
            same(b(x), [b.branch1x1(x), b.branch3x3_2a(one), b.branch3x3_2b(one), b.branch3x3dbl_3a(two), b.branch3x3dbl_3b(two),
                        b.branch_pool(pool(x))])


def same(found, parts):
    np.testing.assert_allclose(found.array, np.concatenate([part.array for part in parts], 1), rtol=1e-4, atol=1e-6)


def test_the_pools_of_2015_do_not_count_the_padding_and_the_last_one_takes_the_largest(network):
    flat = mg.ones(1, 192, 7, 7)
    with mg.no_grad():
        pooled = network.Mixed_5b(flat).array[0, -32:]
        np.testing.assert_allclose(pooled, pooled[:, 3:4, 3:4].repeat(7, 1).repeat(7, 2), rtol=1e-5)  # also at the border
        spike = np.zeros((1, 2048, 7, 7), np.float32)
        spike[:, :, 3, 3] = 1
        pooled = network.Mixed_7c(mg.tensor(spike)).array[0, -192:]
    lit = np.abs(pooled - pooled[:, :1, :1]).max(0) > 0
    assert lit[2:5, 2:5].all() and lit.sum() == 9
    np.testing.assert_allclose(pooled[:, 2, 2], pooled[:, 3, 3], rtol=1e-5)  # the spike itself, not a ninth


def test_pictures_are_rounded_enlarged_and_scaled(monkeypatch):
    seen = []

    def network(x):
        seen.append(x.array)
        return x.mean((2, 3))

    grey = np.random.default_rng(0).uniform(-1, 1, (5, 1, 28, 28)).astype(np.float32)
    calls = []
    found = inception.features(network, grey, lambda: calls.append(1), batch=2)
    assert [x.shape for x in seen] == [(2, 3, 299, 299), (2, 3, 299, 299), (1, 3, 299, 299)] and len(calls) == 1
    assert np.abs(found - np.rint(grey * 127.5 + 127.5).mean((2, 3)) / 127.5 + 1).max() < 0.02 and found.shape == (5, 3)
    assert (seen[0][:, 0] == seen[0][:, 1]).all() and seen[0].min() >= -1 and seen[0].max() <= 1
    flat = np.full((1, 3, 8, 8), 255, np.uint8)
    inception.features(network, flat)
    assert (seen[-1] == 1).all()
    # a pixel of the large picture is the mean of its neighbours, by the distances of pixel centres
    ramp = np.broadcast_to(np.arange(28, dtype=np.uint8) * 9, (1, 1, 28, 28))
    inception.features(network, ramp)
    centre = (np.arange(299) + 0.5) * 28 / 299 - 0.5
    np.testing.assert_allclose(seen[-1][0, 0, 0], np.clip(centre, 0, 27) * 9 / 127.5 - 1, atol=1e-4)


@pytest.mark.parametrize("ending", ["npz", "safetensors", "pth"])
def test_a_file_of_weights_is_read_by_its_names_and_a_wrong_one_is_told(network, ending, tmp_path):
    path = str(tmp_path / f"inception.{ending}")
    state = {name: np.asarray(value) for name, value in network.state_dict().items() if "num_batches" not in name}
    if ending == "pth":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.from_numpy(value.copy()) for name, value in state.items()}, path)
    else:
        save_weights(path, state)
    loaded = inception.load(path)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    for name in ("Mixed_7c.branch3x3_2a.conv.weight", "Conv2d_1a_3x3.bn.running_mean"):
        np.testing.assert_array_equal(loaded.state_dict()[name], state[name])
    if ending == "npz":
        del state["Mixed_6c.branch1x1.conv.weight"]
        save_weights(path, state)
        with pytest.raises(CheckpointError, match="Mixed_6c.branch1x1.conv.weight"):
            inception.load(path)
        with pytest.raises(DataError, match="no such file"):
            inception.load(str(tmp_path / "nowhere.pth"))


def test_units_are_convolution_batch_norm_relu():
    unit = Unit(2, 3, 3, padding=1, rng=Stream(0, "unit")).eval()
    x = mg.tensor(np.random.default_rng(0).normal(size=(1, 2, 5, 5)).astype(np.float32))
    expected = np.maximum(unit.conv(x).array / np.sqrt(1.001), 0)
    np.testing.assert_allclose(unit(x).array, expected, rtol=1e-5, atol=1e-6)
    assert unit.conv.bias is None and isinstance(unit.bn, nn.BatchNorm2d)
