"""ProGAN's players, item by item, beside the paper and the authors' networks.py."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from gan.regularise import MinibatchStddev
from minigrad import functional as F
from minigrad import nn
from minigrad.gradcheck import check_grads
from minigrad.random import Stream
from nets.generators.progan import (
    Equalized,
    ProDiscriminator,
    ProGenerator,
    down,
    faded,
    levels,
    maps,
    pixel_norm,
    up,
)


def count(network):
    return sum(p.numel() for p in network.parameters())


def players(size=16, **options):
    rng = Stream(0, "init")
    g = ProGenerator(size, 1, 6, 64, 8, rng=rng, **options)
    return g, ProDiscriminator(size, 1, 64, 8, MinibatchStddev(4), rng=rng, **options)


def test_parameters_at_1024_pixels_are_as_many_as_the_authors_code_prints():
    """base 8192, at most 512 maps, 512 numbers in the latent: 23,079,115 and 23,087,249."""
    n = [maps(stage, 8192, 512) for stage in range(1, 10)]
    assert n == [512, 512, 512, 512, 256, 128, 64, 32, 16]

    def layer(a, b, kernel=3):
        return a * b * kernel * kernel + b

    generator = 512 * n[0] * 16 + n[0] + layer(n[0], n[0]) + sum(layer(a, b) + layer(b, b) for a, b in zip(n, n[1:]))
    assert generator + sum(layer(a, 3, 1) for a in n) == 23_079_115
    discriminator = sum(layer(b, b) + layer(b, a) for a, b in zip(n, n[1:])) + sum(layer(3, a, 1) for a in n)
    assert discriminator + layer(513, 512) + 512 * 16 * 512 + 512 + 513 == 23_087_249


@pytest.mark.parametrize("size, base, most", [(8, 64, 8), (16, 64, 16), (32, 256, 16)])
def test_and_the_same_rule_counts_ours(size, base, most):
    n = [maps(stage, base, most) for stage in range(1, levels(size) + 2)]

    def layer(a, b, kernel=3):
        return a * b * kernel * kernel + b

    g = ProGenerator(size, 3, 7, base, most, rng=Stream(0))
    assert count(g) == 7 * n[0] * 16 + n[0] + layer(n[0], n[0]) + sum(layer(a, b) + layer(b, b) for a, b in zip(n, n[1:])) \
        + sum(layer(a, 3, 1) for a in n)
    d, last = ProDiscriminator(size, 3, base, most, MinibatchStddev(4), rng=Stream(0)), maps(0, base, most)
    assert count(d) == sum(layer(b, b) + layer(b, a) for a, b in zip(n, n[1:])) + sum(layer(3, a, 1) for a in n) \
        + layer(n[0] + 1, n[0]) + n[0] * 16 * last + last + last + 1


def test_sizes():
    assert [levels(size) for size in (4, 8, 16, 32, 64, 1024)] == [0, 1, 2, 3, 4, 8]
    for size in (0, 2, 3, 28, 48):
        with pytest.raises(ValueError, match="power of two"):
            levels(size)
    g, d = players()
    z = mg.tensor(Stream(1, "z").normal((4, 6)))
    for level in range(3):
        for alpha in (0.0, 0.3, 1.0):
            images = g(z, level, alpha)
            assert images.shape == (4, 1, 4 << level, 4 << level) and d(images, level, alpha).shape == (4,)
    for bad in (3, -1, 1.0):
        with pytest.raises(ValueError, match="level must be one of 0 to 2"):
            g(z, bad)
    with pytest.raises(ValueError, match="alpha"):
        d(g(z), 2, 1.5)


def test_equalized_weights():
    """N(0, 1) at the start, used as gain / sqrt(fan in) times that; gain sqrt 2, and 1 where no ReLU follows."""
    g, d = players()
    for module in [*g.modules(), *d.modules()]:
        if isinstance(module, Equalized):
            fan_in = math.prod(module.weight.shape[1:])
            gain = 1.0 if module.slope is None else math.sqrt(2)
            assert module.scale == pytest.approx(gain / math.sqrt(fan_in)) and not module.bias.array.any()
            if module.weight.numel() > 400:
                assert module.weight.array.std() == pytest.approx(1, rel=0.1)
    assert g.start.scale == pytest.approx(math.sqrt(2) / 4 / math.sqrt(6)) and g.start.bias.shape == (8,)
    layer, x = d.blocks[0][0], mg.tensor(Stream(2, "x").normal((2, 8, 5, 5)))
    expected = F.leaky_relu(F.conv2d(x, layer.weight * layer.scale, layer.bias, padding=1), 0.2)
    np.testing.assert_allclose(layer(x).array, expected.array, atol=1e-6)


def test_without_equalized_the_network_starts_as_the_same_function():
    z = mg.tensor(Stream(1, "z").normal((4, 6)))
    (g, d), (h, e) = players(), players(without=("equalized",))
    np.testing.assert_allclose(g(z).array, h(z).array, atol=1e-5)
    np.testing.assert_allclose(d(g(z)).array, e(g(z)).array, atol=1e-5)
    assert all(m.scale == 1 for m in h.modules() if isinstance(m, Equalized))


def test_where_norms_and_activations_stand():
    """Behind pixel norm every pixel has mean square 1; to colours it is linear: twice the maps, twice the colour."""
    x = mg.tensor(Stream(3, "x").normal((2, 5, 3, 3)) * np.float32(7))
    np.testing.assert_allclose((pixel_norm(x).array ** 2).mean(1), 1, atol=1e-5)
    assert np.isfinite(pixel_norm(mg.zeros(1, 3, 2, 2)).array).all()
    g, _ = players()
    layer, y = g.colours[2], mg.tensor(Stream(4, "y").normal((1, 8, 16, 16)))
    np.testing.assert_allclose(layer(y * 2).array, 2 * layer(y).array, atol=1e-5)
    assert np.abs(g(mg.tensor(Stream(5, "z").normal((50, 6)))).array).max() > 1  # no tanh
    twice = (g(mg.tensor(Stream(5, "z").normal((3, 6))) * k).array for k in (1, 2))
    np.testing.assert_allclose(*twice, atol=1e-5)  # the latent is normed first: its length does not count


@given(alpha=st.floats(0, 1))
def test_fading(alpha):
    """alpha 0 is the level below, alpha 1 the new one, and between them a straight line, for the generator and for real images."""
    g, d = players()
    z = mg.tensor(Stream(1, "z").normal((4, 6)))
    old, new = up(g(z, 1)).array, g(z, 2).array
    np.testing.assert_allclose(g(z, 2, alpha).array, (1 - alpha) * old + alpha * new, atol=1e-5)
    images = mg.tensor(Stream(2, "x").normal((4, 1, 16, 16)))
    np.testing.assert_allclose(faded(images, alpha).array, (1 - alpha) * up(down(images)).array + alpha * images.array, atol=1e-6)
    np.testing.assert_allclose(d(images, 2, 0.0).array, d(down(images), 1).array, atol=1e-5)
    assert faded(images, 1.0) is images


def test_growing_keeps_what_was_learned():
    """At alpha = 0 the new layers have no part in the picture, and get no gradient; the old colours do."""
    g, d = players()
    d(g(mg.tensor(Stream(1, "z").normal((4, 6))), 2, 0.0), 2, 0.0).sum().backward()
    assert np.abs(g.colours[1].weight.grad.array).max() > 0 and np.abs(d.colours[1].weight.grad.array).max() > 0
    for layer in (g.colours[2], *g.blocks[1], d.colours[2], *d.blocks[1]):
        assert layer.weight.grad is None or not layer.weight.grad.array.any()


def test_minibatch_stddev_stands_before_the_last_convolution():
    _, d = players()
    seen = []
    d.statistic.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].shape, output.shape)))
    d(mg.zeros(4, 1, 16, 16))
    assert seen == [((4, 8, 4, 4), (4, 9, 4, 4))] and d.last.weight.shape[:2] == (8, 9)
    plain = ProDiscriminator(16, 1, 64, 8, None, rng=Stream(0))
    assert plain.last.weight.shape[:2] == (8, 8)


def test_gradients_of_second_order_through_stddev_pixel_norm_and_a_fade():
    g, d = players(8)
    g, d = g.double(), d.double()
    z = mg.tensor(Stream(1, "z").normal((4, 6), np.float64), requires_grad=True)
    images = mg.tensor(Stream(2, "x").normal((4, 1, 8, 8), np.float64), requires_grad=True)
    check_grads(lambda a: (g(a, 1, 0.4) ** 2).sum(), [z], order=2)
    check_grads(lambda a: d(a, 1, 0.4).sum(), [images], order=2)


@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 3, 3)])
def test_pixel_norm_has_derivatives_of_both_orders(shape):
    x = mg.tensor(Stream(3, "x").normal(shape, np.float64), requires_grad=True)
    check_grads(lambda a: (pixel_norm(a) ** 3).sum(), [x], order=2)


def test_the_gradient_penalty_reaches_every_weight():
    """WGAN-GP differentiates the norm of a gradient: of both orders through every layer of the discriminator."""
    _, d = players()
    images = mg.tensor(Stream(2, "x").normal((4, 1, 16, 16)), requires_grad=True)
    (slope,) = mg.grad(d(images, 2, 0.5).sum(), [images], create_graph=True)
    (((slope**2).sum((1, 2, 3)).sqrt() - 1) ** 2).mean().backward()
    for name, p in d.named_parameters():
        if name.endswith("weight") and not name.startswith("colours.0"):
            assert np.isfinite(p.grad.array).all() and np.abs(p.grad.array).max() > 0, name


def test_weights_have_names_that_a_checkpoint_keeps():
    g, _ = players()
    h, _ = players()
    state = {name: value + 1 for name, value in g.state_dict().items()}
    h.load_state_dict(state)
    assert {"start.weight", "first.bias", "blocks.1.0.weight", "colours.2.bias"} <= set(state)
    assert isinstance(h, nn.Module)
