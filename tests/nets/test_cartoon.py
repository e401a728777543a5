"""CartoonGAN's networks, item by item, beside the paper and the authors' released generator."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.gradcheck import check_grads
from minigrad.random import Stream
from nets.generators.cartoon import CartoonDiscriminator, CartoonGenerator, norm
from nets.generators.cyclegan import ResnetBlock


def count(network):
    return sum(p.numel() for p in network.parameters())


def convolution(inputs, outputs, kernel):
    return inputs * outputs * kernel**2 + outputs


def layers(network):
    return [(type(m).__name__, tuple(m.weight.shape), m.stride, m.padding) if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))
            else type(m).__name__ for m in network.model]


def test_the_number_of_parameters_by_hand():
    """Full width: 64 maps and 8 blocks, 32 maps. Every norm has a scale and a shift for each map."""
    c = convolution
    first, last = c(3, 64, 7) + 128, c(64, 3, 7)
    down = c(64, 128, 3) + c(128, 128, 3) + 256 + c(128, 256, 3) + c(256, 256, 3) + 512
    blocks = 8 * (2 * c(256, 256, 3) + 2 * 512)
    up = c(256, 128, 3) + c(128, 128, 3) + 256 + c(128, 64, 3) + c(64, 64, 3) + 128
    assert (first, down, blocks, up, last) == (9_600, 1_107_456, 9_449_472, 553_728, 9_411)
    assert count(CartoonGenerator(rng=Stream(0))) == first + down + blocks + up + last == 11_129_667
    judge = [c(3, 32, 3), c(32, 64, 3), c(64, 128, 3) + 256, c(128, 128, 3), c(128, 256, 3) + 512, c(256, 256, 3) + 512,
             c(256, 1, 3)]
    assert judge == [896, 18_496, 74_112, 147_584, 295_680, 590_592, 2_305]
    assert count(CartoonDiscriminator(rng=Stream(0))) == sum(judge) == 1_129_665


def test_the_generator_layer_by_layer():
    norm, one, two = ["InstanceNorm2d", "ReLU"], (1, 1), (2, 2)
    assert layers(CartoonGenerator(rng=Stream(0))) == [
        "ReflectionPad2d", ("Conv2d", (64, 3, 7, 7), one, (0, 0)), *norm,
        ("Conv2d", (128, 64, 3, 3), two, one), ("Conv2d", (128, 128, 3, 3), one, one), *norm,
        ("Conv2d", (256, 128, 3, 3), two, one), ("Conv2d", (256, 256, 3, 3), one, one), *norm,
        *["ResnetBlock"] * 8,
        ("ConvTranspose2d", (256, 128, 3, 3), two, one), ("Conv2d", (128, 128, 3, 3), one, one), *norm,
        ("ConvTranspose2d", (128, 64, 3, 3), two, one), ("Conv2d", (64, 64, 3, 3), one, one), *norm,
        "ReflectionPad2d", ("Conv2d", (3, 64, 7, 7), one, (0, 0)), "Tanh"]
    g = CartoonGenerator(width=2, rng=Stream(0))
    assert [m.padding for m in g.modules() if isinstance(m, nn.ReflectionPad2d)] == [(3,) * 4, *[(1,) * 4] * 16, (3,) * 4]
    assert all(m.output_padding == (1, 1) for m in g.modules() if isinstance(m, nn.ConvTranspose2d))


def test_the_discriminator_layer_by_layer():
    leak, norm, one, two = ["LeakyReLU"], ["InstanceNorm2d", "LeakyReLU"], (1, 1), (2, 2)
    d = CartoonDiscriminator(rng=Stream(0))
    assert layers(d) == [
        ("Conv2d", (32, 3, 3, 3), one, one), *leak,
        ("Conv2d", (64, 32, 3, 3), two, one), *leak, ("Conv2d", (128, 64, 3, 3), one, one), *norm,
        ("Conv2d", (128, 128, 3, 3), two, one), *leak, ("Conv2d", (256, 128, 3, 3), one, one), *norm,
        ("Conv2d", (256, 256, 3, 3), one, one), *norm, ("Conv2d", (1, 256, 3, 3), one, one)]
    assert all(m.negative_slope == 0.2 for m in d.model if isinstance(m, nn.LeakyReLU))


@pytest.mark.parametrize("stages, seen", [(2, 37), (1, 17)])
def test_a_logit_sees_a_patch(stages, seen):
    """Without norms, whose statistics see the whole picture: which pixels move the logit in the middle?"""
    d = CartoonDiscriminator(1, 1, stages, rng=Stream(0))
    for place, layer in enumerate(d.model):
        if isinstance(layer, nn.InstanceNorm2d):
            d.model[place] = nn.Identity()
    x = mg.tensor(Stream(1).normal((1, 1, 64, 64)), requires_grad=True)
    (g,) = mg.grad(d(x)[0, 0, 8 * (3 - stages), 8 * (3 - stages)], [x])
    rows, columns = np.nonzero(g.numpy()[0, 0])
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == seen


def test_a_residual_block_adds_and_has_nothing_behind_the_sum():
    block, x = ResnetBlock(4, Stream(0), norm), mg.tensor(Stream(1).normal((2, 4, 6, 6)))
    names = ["ReflectionPad2d", "Conv2d", "InstanceNorm2d", "ReLU", "ReflectionPad2d", "Conv2d", "InstanceNorm2d"]
    assert [type(m).__name__ for m in block.conv_block] == names
    np.testing.assert_allclose(block(x).array, x.array + block.conv_block(x).array, atol=1e-6)
    assert block(x).array.min() < -0.5  # a ReLU would have cut that off


def test_the_norm_is_the_authors():
    """scale (x - mean) / sqrt(biased variance + 1e-9) + shift, alike in training and afterwards, alone and in company."""
    g = CartoonGenerator(width=4, blocks=1, rng=Stream(0))
    norms = [m for m in g.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == 7 and all(m.eps == 1e-9 and len(list(m.parameters())) == 2 and not list(m.buffers()) for m in norms)
    x = Stream(1).normal((3, 4, 2, 3)) * 1e-3
    norms[0].load_state_dict({"weight": np.arange(4, dtype=np.float32), "bias": np.full(4, 0.5, np.float32)})
    mean, variance = x.mean((2, 3), keepdims=True), x.var((2, 3), ddof=0, keepdims=True)
    expected = np.arange(4).reshape(4, 1, 1) * (x - mean) / np.sqrt(variance + 1e-9) + 0.5
    np.testing.assert_allclose(norms[0](mg.tensor(x)).array, expected, atol=1e-4)
    pictures = mg.tensor(Stream(2).normal((3, 3, 16, 12)))
    whole = g(pictures).array
    np.testing.assert_array_equal(g.eval()(pictures).array, whole)
    np.testing.assert_allclose(g(pictures[1:2]).array, whole[1:2], atol=1e-4)


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_a_picture_of_one_colour_has_finite_gradients(level):
    """Its variance is 0 in every map of the first layer, and 1 / sqrt(1e-9) is 31,623."""
    for network in (CartoonGenerator(width=4, blocks=2, rng=Stream(0)), CartoonDiscriminator(width=4, rng=Stream(0))):
        loss = (network(mg.full((2, 3, 16, 16), level)) ** 2).mean()
        for name, gradient in zip(dict(network.named_parameters()), mg.grad(loss, list(network.parameters())), strict=True):
            assert np.isfinite(gradient.numpy()).all(), name


def test_gradients_of_second_order():
    g, d = CartoonGenerator(1, 1, 1, rng=Stream(0)), CartoonDiscriminator(1, 1, rng=Stream(1))
    for network in (g, d):
        network.to(mg.float64)
    x = mg.tensor(Stream(2).normal((1, 1, 8, 8)).astype(np.float64), requires_grad=True)
    check_grads(lambda x: (d(g(x)) ** 2).mean(), [x], order=2)


@pytest.mark.parametrize("resize", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (16, 24)])
def test_pictures_keep_their_size(shape, resize):
    g, d = CartoonGenerator(1, 4, 1, resize, rng=Stream(0)), CartoonDiscriminator(1, 4, rng=Stream(0))
    y = g(mg.tensor(Stream(1).normal((2, 1, *shape))))
    assert y.shape == (2, 1, *shape) and np.abs(y.array).max() <= 1 and y.array.dtype == np.float32
    assert d(y).shape == (2, 1, shape[0] // 4, shape[1] // 4)


@pytest.mark.parametrize("shape", [(30, 32), (32, 30), (4, 4)])
def test_other_sizes_are_refused(shape):
    with pytest.raises(ValueError, match="CartoonGenerator: sides must be multiples of 4 and at least 8"):
        CartoonGenerator(width=4, blocks=0, rng=Stream(0))(mg.zeros(1, 3, *shape))


@pytest.mark.parametrize("wrong", [dict(width=0), dict(blocks=-1), dict(channels=1.5)])
def test_other_numbers_are_refused(wrong):
    with pytest.raises((TypeError, ValueError), match=f"CartoonGenerator: {next(iter(wrong))}"):
        CartoonGenerator(rng=Stream(0), **wrong)


def test_a_network_of_pytorch_gives_the_same():
    torch = pytest.importorskip("torch")
    tn, ours = torch.nn, CartoonGenerator(3, 4, 2, rng=Stream(0))

    class Block(tn.Module):
        def __init__(self, n):
            super().__init__()
            self.conv_block = tn.Sequential(tn.ReflectionPad2d(1), tn.Conv2d(n, n, 3), norm(n), tn.ReLU(),
                                            tn.ReflectionPad2d(1), tn.Conv2d(n, n, 3), norm(n))

        def forward(self, x):
            return x + self.conv_block(x)

    def norm(n):
        return tn.InstanceNorm2d(n, eps=1e-9, affine=True)

    def stage(first, inside, n):
        return [first, tn.Conv2d(inside, n, 3, 1, 1), norm(n), tn.ReLU()]

    theirs = tn.Module()
    theirs.model = tn.Sequential(
        tn.ReflectionPad2d(3), tn.Conv2d(3, 4, 7), norm(4), tn.ReLU(), *stage(tn.Conv2d(4, 8, 3, 2, 1), 8, 8),
        *stage(tn.Conv2d(8, 16, 3, 2, 1), 16, 16), Block(16), Block(16),
        *stage(tn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1), 8, 8),
        *stage(tn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1), 4, 4), tn.ReflectionPad2d(3), tn.Conv2d(4, 3, 7), tn.Tanh())
    state = {key: value * 3 + 0.1 for key, value in ours.state_dict().items()}
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    ours.load_state_dict(state)
    x = Stream(1).normal((2, 3, 16, 16))
    np.testing.assert_allclose(ours(mg.tensor(x)).array, theirs.model(torch.from_numpy(x)).detach().numpy(), atol=5e-5)
