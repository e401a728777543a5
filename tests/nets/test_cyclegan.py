"""CycleGAN's networks, item by item, beside the paper and the authors' PyTorch code."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.random import Stream
from nets.generators.cyclegan import PatchDiscriminator, ResnetBlock, ResnetGenerator, patch


def count(network):
    return sum(p.numel() for p in network.parameters())


def layers(network):
    return [(type(m).__name__, tuple(m.weight.shape), m.stride, m.padding) if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))
            else type(m).__name__ for m in network.model]


def test_the_published_nets_have_the_published_number_of_parameters():
    """11.378 M and 2.765 M, as the authors' code prints (64 maps, 9 blocks)."""
    assert count(ResnetGenerator(rng=Stream(0))) == 11_378_179
    assert count(PatchDiscriminator(rng=Stream(0))) == 2_764_737
    assert count(ResnetGenerator(blocks=6, rng=Stream(0))) == 11_378_179 - 3 * (2 * (256 * 256 * 9 + 256))


def test_the_generator_layer_by_layer():
    norm = ["InstanceNorm2d", "ReLU"]
    assert layers(ResnetGenerator(blocks=2, rng=Stream(0))) == [
        "ReflectionPad2d", ("Conv2d", (64, 3, 7, 7), (1, 1), (0, 0)), *norm,
        ("Conv2d", (128, 64, 3, 3), (2, 2), (1, 1)), *norm, ("Conv2d", (256, 128, 3, 3), (2, 2), (1, 1)), *norm,
        "ResnetBlock", "ResnetBlock",
        ("ConvTranspose2d", (256, 128, 3, 3), (2, 2), (1, 1)), *norm, ("ConvTranspose2d", (128, 64, 3, 3), (2, 2), (1, 1)), *norm,
        "ReflectionPad2d", ("Conv2d", (3, 64, 7, 7), (1, 1), (0, 0)), "Tanh"]


def test_the_discriminator_layer_by_layer():
    norm = ["InstanceNorm2d", "LeakyReLU"]
    d = PatchDiscriminator(rng=Stream(0))
    assert layers(d) == [
        ("Conv2d", (64, 3, 4, 4), (2, 2), (1, 1)), "LeakyReLU", ("Conv2d", (128, 64, 4, 4), (2, 2), (1, 1)), *norm,
        ("Conv2d", (256, 128, 4, 4), (2, 2), (1, 1)), *norm, ("Conv2d", (512, 256, 4, 4), (1, 1), (1, 1)), *norm,
        ("Conv2d", (1, 512, 4, 4), (1, 1), (1, 1))]
    assert all(m.negative_slope == 0.2 for m in d.model if isinstance(m, nn.LeakyReLU))
    assert [patch(n) for n in (1, 2, 3)] == [16, 34, 70]


def test_a_residual_block_adds_and_has_nothing_behind_the_sum():
    block, x = ResnetBlock(4, rng=Stream(0)), mg.tensor(Stream(1).normal((2, 4, 6, 6)))
    names = ["ReflectionPad2d", "Conv2d", "InstanceNorm2d", "ReLU", "ReflectionPad2d", "Conv2d", "InstanceNorm2d"]
    assert [type(m).__name__ for m in block.conv_block] == names
    np.testing.assert_allclose(block(x).array, x.array + block.conv_block(x).array, atol=1e-6)
    assert block(x).array.min() < -0.5  # a ReLU would have cut that off


def test_instance_norm_is_plain_and_alike_in_training_and_after():
    g = ResnetGenerator(width=4, blocks=1, rng=Stream(0))
    norms = [m for m in g.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == 7 and all(not list(m.parameters()) and not list(m.buffers()) for m in norms)
    x = mg.tensor(Stream(1).normal((3, 3, 16, 12)))
    whole = g(x).array
    np.testing.assert_array_equal(g.eval()(x).array, whole)
    np.testing.assert_allclose(g(x[1:2]).array, whole[1:2], atol=1e-5)


def test_weights_at_the_start():
    for network in (ResnetGenerator(blocks=2, rng=Stream(0)), PatchDiscriminator(rng=Stream(0))):
        for m in network.modules():
            if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
                assert not m.bias.array.any()
                if m.weight.numel() > 5000:
                    assert m.weight.array.std() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("resize", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (16, 24), (64, 64)])
def test_pictures_keep_their_size(shape, resize):
    g, d = ResnetGenerator(1, 3, 4, 1, resize, rng=Stream(0)), PatchDiscriminator(3, 4, 2, rng=Stream(0))
    y = g(mg.tensor(Stream(1).normal((2, 1, *shape))))
    assert y.shape == (2, 3, *shape) and np.abs(y.array).max() <= 1
    if min(shape) >= 16:
        assert d(y).shape == (2, 1, shape[0] // 4 - 2, shape[1] // 4 - 2)


@pytest.mark.parametrize("shape", [(30, 32), (32, 30), (4, 4)])
def test_other_sizes_are_refused(shape):
    with pytest.raises(ValueError, match="multiples of 4"):
        ResnetGenerator(width=4, blocks=0, rng=Stream(0))(mg.zeros(1, 3, *shape))


def test_weights_travel_to_the_authors_network_by_name():
    torch = pytest.importorskip("torch")
    tn, ours = torch.nn, ResnetGenerator(3, 3, 4, 2, rng=Stream(0))

    class Block(tn.Module):
        def __init__(self, n):
            super().__init__()
            self.conv_block = tn.Sequential(tn.ReflectionPad2d(1), tn.Conv2d(n, n, 3), tn.InstanceNorm2d(n), tn.ReLU(),
                                            tn.ReflectionPad2d(1), tn.Conv2d(n, n, 3), tn.InstanceNorm2d(n))

        def forward(self, x):
            return x + self.conv_block(x)

    def behind(n):
        return [tn.InstanceNorm2d(n), tn.ReLU()]

    theirs = tn.Module()
    theirs.model = tn.Sequential(
        tn.ReflectionPad2d(3), tn.Conv2d(3, 4, 7), *behind(4), tn.Conv2d(4, 8, 3, 2, 1), *behind(8), tn.Conv2d(8, 16, 3, 2, 1),
        *behind(16), Block(16), Block(16), tn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1), *behind(8),
        tn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1), *behind(4), tn.ReflectionPad2d(3), tn.Conv2d(4, 3, 7), tn.Tanh())
    theirs.load_state_dict({key: torch.from_numpy(value * 5) for key, value in ours.state_dict().items()})
    ours.load_state_dict({key: value * 5 for key, value in ours.state_dict().items()})
    x = Stream(1).normal((2, 3, 16, 16))
    np.testing.assert_allclose(ours(mg.tensor(x)).array, theirs.model(torch.from_numpy(x)).detach().numpy(), atol=2e-5)
