"""DCGAN's architecture and published recipe, item by item (Radford et al. 2016 and its well-known PyTorch example)."""

import numpy as np
import pytest

import minigrad as mg
from gan import losses
from gan.commands import dcgan
from minigrad import nn
from minigrad.random import Stream
from nets.generators.dcgan import Discriminator, Generator, stages


def kinds(network):
    return [type(layer).__name__ for layer in network.main]


def geometry(layer):
    return tuple(layer.weight.shape), layer.stride, layer.padding, layer.bias is None


def test_generator_at_64_pixels_is_the_published_one():
    """z 100 -> 512 k4 s1 p0 -> 256 -> 128 -> 64 -> 3 (k4 s2 p1), BN + ReLU between, tanh at the end, no bias."""
    g = Generator(64, 3, 100, 64, rng=Stream(0, "init"))
    assert kinds(g) == ["ConvTranspose2d", "BatchNorm2d", "ReLU"] * 4 + ["ConvTranspose2d", "Tanh"]
    found = [geometry(layer) for layer in g.main if isinstance(layer, nn.ConvTranspose2d)]
    assert found == [
        ((100, 512, 4, 4), (1, 1), (0, 0), True), ((512, 256, 4, 4), (2, 2), (1, 1), True),
        ((256, 128, 4, 4), (2, 2), (1, 1), True), ((128, 64, 4, 4), (2, 2), (1, 1), True),
        ((64, 3, 4, 4), (2, 2), (1, 1), True),
    ]
    assert sum(p.numel() for p in g.parameters()) == 3_576_704  # the example prints the same


def test_discriminator_at_64_pixels_is_the_published_one():
    """3 -> 64 (no BN) -> 128 -> 256 -> 512 (BN) -> 1, leaky ReLU 0.2, no bias, no sigmoid (the loss takes logits)."""
    d = Discriminator(64, 3, 64, rng=Stream(0, "init"))
    assert kinds(d) == ["Conv2d", "LeakyReLU"] + ["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3 + ["Conv2d"]
    assert all(layer.negative_slope == 0.2 for layer in d.main if isinstance(layer, nn.LeakyReLU))
    found = [geometry(layer) for layer in d.main if isinstance(layer, nn.Conv2d)]
    assert found[0] == ((64, 3, 4, 4), (2, 2), (1, 1), True) and found[-1] == ((1, 512, 4, 4), (1, 1), (0, 0), True)
    assert sum(p.numel() for p in d.parameters()) == 2_765_568


def test_no_pooling_and_no_hidden_fully_connected_layer():
    for network in (Generator(64), Discriminator(64)):
        assert not any(isinstance(m, (nn.MaxPool2d, nn.AvgPool2d, nn.Linear)) for m in network.modules())


@pytest.mark.parametrize("norm", [True, False])
def test_initial_weights(norm):
    """Convolutions N(0, 0.02); batch norm's scale N(1, 0.02), its shift 0."""
    for network in (Generator(64, 3, 100, 64, rng=Stream(1, "g")), Discriminator(64, 3, 64, norm, rng=Stream(1, "d"))):
        for layer in network.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.weight.numel() > 3000:
                w = layer.weight.array
                assert abs(w.mean()) < 5 * 0.02 / w.size**0.5 and w.std() == pytest.approx(0.02, rel=0.05)
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.weight.array.std() == pytest.approx(0.02, rel=0.4)
                assert layer.weight.array.mean() == pytest.approx(1, abs=0.02)
                assert (layer.bias.array == 0).all()


def test_published_preset():
    """Latents N(0, 1) of 100, batch 128 (the paper), Adam 2e-4 (0.5, 0.999), no decay, the same fakes for both steps."""
    o = dcgan.options(["--preset", "published", "--data", "mnist"])
    assert (o.batch, o.latent, o.width, o.rate, o.beta2) == (128, 100, 64, 2e-4, 0.999)
    assert o.norm and not o.fresh and o.fall == 0 and o.gamma == 0 and o.average == 0
    assert o.loss == "non_saturating" and losses.non_saturating.generator is losses.non_saturating_generator


@pytest.mark.parametrize("size, start, doublings", [(28, 7, 2), (32, 4, 3), (64, 4, 4), (48, 6, 3), (20, 5, 2), (8, 4, 1)])
def test_sizes(size, start, doublings):
    assert stages(size) == (start, doublings)
    rng = Stream(0, "init")
    g, d = Generator(size, 1, 5, 2, rng=rng), Discriminator(size, 1, 2, rng=rng)
    images = g(mg.tensor(np.random.default_rng(0).normal(size=(3, 5)), dtype=mg.float32))
    assert images.shape == (3, 1, size, size) and np.abs(images.array).max() <= 1
    assert d(images).shape == (3,)


@pytest.mark.parametrize("size", [0, 3, 4, 7, 30, 36, 100])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="28, 32 or 64"):
        stages(size)


def test_weights_travel_to_the_pytorch_example_by_name():
    torch = pytest.importorskip("torch")
    ours = Generator(32, 1, 10, 4, rng=Stream(0, "init"))
    layers = []
    for layer in ours.main:
        if isinstance(layer, nn.ConvTranspose2d):
            i, o, k, _ = layer.weight.shape
            layers.append(torch.nn.ConvTranspose2d(i, o, k, layer.stride, layer.padding, bias=False))
        elif isinstance(layer, nn.BatchNorm2d):
            layers.append(torch.nn.BatchNorm2d(len(layer.weight)))
        else:
            layers.append(getattr(torch.nn, type(layer).__name__)())
    twin = torch.nn.Module()
    twin.main = torch.nn.Sequential(*layers)
    twin.load_state_dict({key: torch.from_numpy(value) for key, value in ours.state_dict().items()})
    z = np.random.default_rng(0).normal(size=(4, 10)).astype(np.float32)
    expected = twin.main(torch.from_numpy(z)[:, :, None, None]).detach().numpy()
    np.testing.assert_allclose(ours(mg.tensor(z)).array, expected, atol=1e-5)


# ---- with classes


def conditional(size=8, classes=4):
    rng = Stream(0, "init")
    return Generator(size, 1, 5, 2, classes=classes, rng=rng), Discriminator(size, 1, 2, False, classes=classes, rng=rng)


def test_the_projection_by_its_equation():
    """D(x, y) = psi(features) + v_y . features, with the weights of the last layer's maps 0 and 1 + y."""
    _, d = conditional()
    images = mg.tensor(Stream(1, "x").normal((6, 1, 8, 8)))
    y = mg.tensor(np.array([0, 3, 1, 1, 2, 0]))
    features = nn.Sequential(*list(d.main)[:-1])(images).array.reshape(6, -1)
    w, b = d.main[-1].weight.array.reshape(5, -1), d.main[-1].bias.array
    expected = [f @ (w[0] + w[1 + k]) + b[0] + b[1 + k] for f, k in zip(features, y.array, strict=True)]
    np.testing.assert_allclose(d(images, y).array, expected, rtol=1e-5, atol=1e-6)


def test_a_label_changes_what_is_drawn_and_only_its_own_weights_learn():
    g, d = conditional()
    latent, labels = mg.tensor(Stream(2, "z").normal((4, 5))), [mg.tensor(np.full(4, k)) for k in (1, 2)]
    a, b = (g(latent, label).array for label in labels)
    assert np.abs(a - b).max() > 1e-4
    d(g(latent, labels[0]), labels[0]).sum().backward()
    rows = np.abs(d.main[-1].weight.grad.array).reshape(5, -1).max(1)
    assert (rows[[0, 2]] > 0).all() and not rows[[1, 3, 4]].any()
    columns = np.abs(g.main[0].weight.grad.array).reshape(9, -1).max(1)
    assert columns[5 + 1] > 0 and not columns[[5, 7, 8]].any()


def test_labels_and_classes_must_fit():
    g, d = conditional()
    latent, images = mg.zeros(3, 5), mg.zeros(3, 1, 8, 8)
    for call, message in ((lambda: g(latent), "labels must be given"), (lambda: d(images), "labels must be given"),
                          (lambda: Generator(8, 1, 5, 2)(latent, mg.zeros(3, dtype=mg.int64)), "left out"),
                          (lambda: d(images, mg.zeros(2, dtype=mg.int64)), r"\(3,\)")):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises((ValueError, IndexError)):
        g(latent, mg.tensor(np.array([0, 4, 1])))
