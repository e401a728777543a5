"""Drawing changes nothing, interpolation keeps to the great circle, batch norm is re-estimated exactly."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from gan.generate import generate, interpolate, reestimate_batch_norm
from minigrad import nn
from minigrad.random import Stream
from nets.generators.dcgan import Generator


def small(seed=0):
    return Generator(8, 1, 6, 3, rng=Stream(seed, "init"))


def test_generating_changes_neither_state_nor_modes():
    g = small()
    g.main[1].eval()
    before, modes = g.state_dict(), [m.training for m in g.modules()]
    before = {key: value.copy() for key, value in before.items()}
    generate(g, Stream(0, "z").normal((10, 6)))
    assert all((before[key] == value).all() for key, value in g.state_dict().items())
    assert modes == [m.training for m in g.modules()]


def test_one_latent_gives_one_image_whatever_its_company():
    """soumith/dcgan.torch#19: in evaluation mode an image does not depend on the batch."""
    g, z = small(), Stream(0, "z").normal((10, 6))
    np.testing.assert_allclose(generate(g, z)[3], generate(g, z[3:4])[0], atol=1e-6)


def test_reestimated_statistics_are_those_of_the_latents():
    g, z = small(), Stream(0, "z").normal((40, 6))
    reestimate_batch_norm(g, z, batch=40)
    norm = next(m for m in g.modules() if isinstance(m, nn.BatchNorm2d))
    first = g.main[0](mg.tensor(z.reshape(40, 6, 1, 1))).array
    np.testing.assert_allclose(norm.running_mean.array, first.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(norm.running_var.array, first.var((0, 2, 3), ddof=1), rtol=1e-4)
    assert norm.momentum == 0.1 and g.training


@given(t=st.floats(0, 1), seed=st.integers(0, 99))
def test_interpolation(t, seed):
    a, b = np.random.default_rng(seed).normal(size=(2, 3, 8))
    np.testing.assert_allclose(interpolate(a, b, 0.0), a, atol=1e-9)
    np.testing.assert_allclose(interpolate(a, b, 1.0), b, atol=1e-9)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b)]
    np.testing.assert_allclose(np.linalg.norm(interpolate(*unit, t), axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(interpolate(a, a, t), a, atol=1e-6)
