"""Autoencoder and VAE: one decoder, the divergence and the bound against what they are defined to be, the plane of codes."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.gradcheck import check_grads
from minigrad.random import Stream
from nets.generators.autoencoder import Autoencoder, Encoder
from nets.generators.dcgan import Discriminator, Generator
from nets.generators.draw import in_batches
from nets.generators.vae import VAE, divergence, plane, reparameterise, walk


def images(n=4, size=8, channels=1, seed=0):
    return Stream(seed, "images").uniform(-1, 1, (n, channels, size, size))


def double(*shape, seed=0, name="x"):
    return mg.tensor(Stream(seed, name).normal(shape, np.float64), requires_grad=True)


def shapes(network):
    return {name: value.shape for name, value in network.state_dict().items()}


# ---- one decoder


@pytest.mark.parametrize("size", [28, 64])
def test_the_decoder_is_the_generator_of_dcgan(size):
    rng = Stream(0, "init")
    wanted = shapes(Generator(size, 1, 5, 4, 1, rng=rng))
    assert shapes(Autoencoder(size, 1, 5, 4, 1, rng=rng).decoder) == wanted
    assert shapes(VAE(size, 1, 5, "conv", "bernoulli", 4, 1, rng=rng).decoder) == wanted


def test_the_encoder_is_the_discriminator_but_for_its_end():
    rng = Stream(0, "init")
    ours, theirs = shapes(Encoder(28, 1, 6, 4, rng=rng)), shapes(Discriminator(28, 1, 4, norm=True, rng=rng))
    end = f"main.{max(int(name.split('.')[1]) for name in theirs)}."
    assert {k: v for k, v in ours.items() if not k.startswith(end)} == {k: v for k, v in theirs.items() if not k.startswith(end)}
    assert ours[end + "weight"] == (6, *theirs[end + "weight"][1:]) and ours[end + "bias"] == (6,)


@pytest.mark.parametrize("size, channels", [(28, 1), (32, 3), (8, 3)])
def test_copies_have_the_shape_and_range_of_the_originals(size, channels):
    x = images(3, size, channels)
    copies = Autoencoder(size, channels, 5, 2, rng=Stream(0, "init"))(mg.tensor(x)).array
    assert copies.shape == x.shape and np.abs(copies).max() < 1


# ---- the VAE's definition


def test_the_divergence_is_the_mean_log_ratio_of_the_densities():
    """Closed form against Monte Carlo: KL = E_q[log q(z) - log p(z)], 400,000 draws."""
    mean, logvar = np.array([[0.3, -1.2, 0.0]]), np.array([[-0.5, 0.4, -2.0]])
    z = mean + np.exp(logvar / 2) * Stream(0, "draws").normal((400_000, 3), np.float64)
    log_ratio = (-0.5 * (logvar + (z - mean) ** 2 / np.exp(logvar)) + 0.5 * z**2).sum(1)
    found = divergence(mg.tensor(mean), mg.tensor(logvar)).item()
    assert found == pytest.approx(log_ratio.mean(), abs=5 * log_ratio.std() / math.sqrt(len(z)))


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-4, 3)), min_size=1, max_size=4))
def test_the_divergence_is_0_for_the_prior_and_above_0_elsewhere(numbers):
    mean, logvar = (mg.tensor(np.array([column])) for column in zip(*numbers))
    assert divergence(mean * 0, logvar * 0).item() == 0
    assert divergence(mean, logvar).item() >= -1e-15  # rounding


def test_a_draw_has_the_mean_and_variance_that_were_asked_for():
    noise = mg.tensor(Stream(0, "noise").normal((200_000, 2), np.float64))
    z = reparameterise(mg.tensor(np.array([[1.0, -2.0]])), mg.tensor(np.array([[0.5, -1.0]])), noise).array
    np.testing.assert_allclose(z.mean(0), [1, -2], atol=0.02)
    np.testing.assert_allclose(z.var(0), np.exp([0.5, -1.0]), rtol=0.02)


def test_the_draw_hands_its_gradient_to_mean_and_variance():
    """dz/dm = 1 and dz/dv = (z - m) / 2, and every order of the whole bound's noisy part by finite differences."""
    mean, logvar, noise = double(3, 2), double(3, 2, name="v"), Stream(0, "e").normal((3, 2), np.float64)
    z = reparameterise(mean, logvar, mg.tensor(noise))
    by_mean, by_logvar = mg.grad(z.sum(), [mean, logvar])
    np.testing.assert_array_equal(by_mean.array, 1)
    np.testing.assert_allclose(by_logvar.array, (z - mean).array / 2, rtol=1e-12)
    check_grads(lambda m, v: (reparameterise(m, v, mg.tensor(noise)) ** 2).sum() + divergence(m, v).sum(), (mean, logvar), order=2)


@pytest.mark.parametrize("network", ["conv", "mlp"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_bound_is_the_likelihoods_own_formula(network, likelihood):
    vae = VAE(8, 1, 3, network, likelihood, 2, 1, 16, rng=Stream(0, "init")).eval()
    x, e = images(), Stream(0, "noise").normal((4, 3))
    reconstruction, told = vae.bound(mg.tensor(x), mg.tensor(e))
    mean, logvar = vae.encode(mg.tensor(x))
    z = mean.array + np.exp(logvar.array / 2) * e
    drawn = vae.decode(mg.tensor(z)).array.astype(np.float64)
    if likelihood == "bernoulli":
        p, t = (drawn + 1) / 2, (x.astype(np.float64) + 1) / 2
        wanted = -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum((1, 2, 3))
    else:
        std = math.exp(vae.log_std.item())
        density = NormalDist(0, std)
        wanted = [-sum(math.log(density.pdf(a)) for a in (row - out).ravel()) for row, out in zip(x.astype(np.float64), drawn)]
    np.testing.assert_allclose(reconstruction.array, wanted, rtol=1e-4)
    np.testing.assert_allclose(told.array, divergence(mean, logvar).array)


def test_the_published_network_is_784_400_20_400_784():
    vae = VAE(28, 1, 20, "mlp", "bernoulli", hidden=400, rng=Stream(0, "init"))
    linear = [layer.weight.shape for layer in vae.modules() if isinstance(layer, nn.Linear)]
    assert linear == [(400, 784), (40, 400), (400, 20), (784, 400)]  # mean and log variance are one layer of 2 x 20
    assert sum(p.numel() for p in vae.parameters()) == 652_824  # as many as the example's


def test_the_published_network_reads_pixels_from_0_to_1():
    vae, x = VAE(8, 1, 2, "mlp", rng=Stream(0, "init")), images()
    wanted = vae.encoder(mg.tensor((x + 1) / 2)).array
    np.testing.assert_allclose(np.concatenate([part.array for part in vae.encode(mg.tensor(x))], 1), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrong", [dict(network="deep"), dict(likelihood="poisson")])
def test_unknown_networks_and_likelihoods_are_refused(wrong):
    with pytest.raises(ValueError, match="must be one of"):
        VAE(8, 1, 2, **wrong)


# ---- codes to look at


def test_the_plane_lies_at_the_quantiles_of_the_prior():
    codes = plane(np.float32([7, 8, 9]), 5, across=2, down=0).reshape(5, 5, 3)
    share = np.vectorize(NormalDist().cdf)(codes.astype(np.float64))
    np.testing.assert_allclose(share[0, :, 2], [0.1, 0.3, 0.5, 0.7, 0.9], atol=1e-6)
    np.testing.assert_allclose(share[:, 0, 0], [0.1, 0.3, 0.5, 0.7, 0.9], atol=1e-6)
    assert (codes[..., 1] == 8).all()
    assert (codes == codes[:1, :, :] * [0, 0, 1] + codes[:, :1, :] * [1, 1, 0]).all()


@pytest.mark.parametrize("across, down", [(0, 0), (0, 2), (-1, 0)])
def test_a_plane_needs_two_coordinates(across, down):
    with pytest.raises(ValueError, match="two different coordinates"):
        plane(np.zeros(2), 3, across, down)


def test_a_walk_begins_and_ends_where_it_was_told_and_goes_straight():
    a, b = Stream(0, "a").normal((2, 3)), Stream(0, "b").normal((2, 3))
    path = walk(a, b, 5)
    np.testing.assert_array_equal(path[0], a)
    np.testing.assert_array_equal(path[-1], b)
    np.testing.assert_allclose(path[2], (a + b) / 2, atol=1e-6)


def test_drawing_in_parts_equals_drawing_at_once_and_leaves_the_modes_alone():
    vae = VAE(8, 1, 2, rng=Stream(0, "init"))
    vae.encoder.eval()
    modes = [m.training for m in vae.modules()]
    x = images(7)
    parts, whole = in_batches(vae, vae.encode, x, batch=3), in_batches(vae, vae.encode, x)
    for a, b in zip(parts, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert [m.training for m in vae.modules()] == modes
