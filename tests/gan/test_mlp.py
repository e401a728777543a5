"""The GAN of 2014, item by item: the authors' mnist.yaml and __init__.py (github.com/goodfeli/adversarial), and its number."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from gan import losses
from gan.commands import mlp
from gan.metrics.parzen import log_likelihoods, parzen
from minigrad import nn
from minigrad.random import Stream
from nets.classifiers.maxout import Maxout
from nets.generators.mlp import MLPDiscriminator, MLPGenerator, marginals


def test_generator():
    """100 -> 1200 relu -> 1200 relu -> 784 sigmoid; weights uniform +-0.05, biases 0 but for the last."""
    bias = np.linspace(-1, 1, 784, dtype=np.float32)
    g = MLPGenerator(bias=bias, rng=Stream(0, "g"))
    assert [type(m).__name__ for m in g.main] == ["Linear", "ReLU", "Linear", "ReLU", "Linear", "Sigmoid", "Unflatten"]
    linear = [m for m in g.main if isinstance(m, nn.Linear)]
    assert [m.weight.shape for m in linear] == [(1200, 100), (1200, 1200), (784, 1200)]
    for m in linear:
        w = m.weight.array
        assert np.abs(w).max() <= 0.05 and w.std() == pytest.approx(0.05 / math.sqrt(3), rel=0.02)
    assert not linear[0].bias.array.any() and not linear[1].bias.array.any()
    np.testing.assert_array_equal(linear[2].bias.array, bias)


def test_discriminator():
    """784 -> maxout 240 x 5 -> maxout 240 x 5 -> 1; weights uniform +-0.005; 0.8 of the inputs kept, 0.5 of the units."""
    d = MLPDiscriminator(rng=Stream(0, "d"))
    kinds = ["Flatten", "Dropout", "Maxout", "Dropout", "Maxout", "Dropout", "Linear"]
    assert [type(m).__name__ for m in d.main] == kinds
    assert [(m.units, m.pieces) for m in d.main if isinstance(m, Maxout)] == [(240, 5)] * 2
    assert [m.p for m in d.main if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.5]
    for m in d.modules():
        if isinstance(m, nn.Linear):
            assert np.abs(m.weight.array).max() <= 0.005 and not m.bias.array.any()
    # what is kept is scaled by 1.25 before the first layer: an inverted dropout, so evaluation needs no scaling
    x = mg.ones(1, 1, 28, 28)
    seen = set(np.unique(d.main[1](d.main[0]((x + 1) * 0.5)).array).tolist())
    assert seen == {0.0, 1.25}


def test_options_are_the_authors():
    o = mlp.options(["--data", "mnist"])
    assert (o.batch, o.latent, o.hidden, o.units, o.rate) == (100, 100, 1200, 240, 0.1)
    assert (o.decay, o.momentum, o.final_momentum, o.loss) == (1.000004, 0.5, 0.7, "non_saturating")
    assert mlp.rising(o, 1) == 0.5 and mlp.rising(o, 250) == 0.7 and mlp.rising(o, 999) == 0.7
    assert mlp.rising(o, 125.5) == pytest.approx(0.6)


def test_a_generator_that_knows_nothing_draws_the_mean_picture():
    images = np.random.default_rng(0).uniform(-0.9, 0.9, (50, 1, 4, 4)).astype(np.float32)
    g = MLPGenerator(4, 1, 5, 8, marginals(images), rng=Stream(0, "g"))
    g.main[4].weight.assign_(np.zeros_like(g.main[4].weight.array))
    drawn = g(mg.tensor(np.ones((2, 5), np.float32))).array
    np.testing.assert_allclose(drawn[0], images.mean(0), atol=1e-6)
    black = marginals(np.full((3, 1, 2, 2), -1, np.float32))
    assert np.isfinite(black).all() and (black < -6).all()
    with pytest.raises(ValueError, match="one number for each of 16 pixels"):
        MLPGenerator(4, 1, 5, 8, black, rng=Stream(0, "g"))


@pytest.mark.parametrize("loss", ["non_saturating", "minimax"])
def test_one_pass_gives_each_player_its_own_gradient_with_the_same_units_dropped(loss):
    o = mlp.options(["--loss", loss, "--size", "4"])
    rng = np.random.default_rng(0)
    real, latent = (mg.tensor(rng.normal(size=size).astype(np.float32)) for size in ((6, 1, 4, 4), (6, 5)))

    def players():
        return MLPGenerator(4, 1, 5, 8, rng=Stream(0, "g")), MLPDiscriminator(4, 1, 6, 2, rng=Stream(0, "d"))

    g, d = players()
    mlp.one_pass(o, g, d, real, latent)
    for player, half in ((0, 1.0), (1, 0.5)):  # each alone, on twins whose streams drop the same units
        twins = players()
        logits = twins[1](mg.cat([real, twins[0](latent)])).split(6)
        game = getattr(losses, loss)
        total = game.generator(logits[1]) if player == 0 else game.discriminator(*logits) * half
        total.backward()
        for ours, p in zip((g, d)[player].parameters(), twins[player].parameters(), strict=True):
            np.testing.assert_array_equal(ours.grad.array, p.grad.array)


# ---- the Parzen window


@given(seed=st.integers(0, 99), d=st.integers(1, 5), sigma=st.floats(0.1, 3))
def test_parzen_by_its_definition(seed, d, sigma):
    rng = np.random.default_rng(seed)
    x, s = rng.normal(size=(7, d)) + 5, rng.normal(size=(4, d)) + 5
    density = np.exp(-((x[:, None] - s) ** 2).sum(2) / (2 * sigma**2)) / (2 * math.pi * sigma**2) ** (d / 2)
    np.testing.assert_allclose(log_likelihoods(x, s, sigma, block=3), np.log(density.mean(1)), rtol=1e-9, atol=1e-9)


def test_parzen_of_many_samples_of_a_gaussian_is_near_minus_its_entropy():
    """E log p = -1/2 log(2 pi e) (1 + sigma^2 on the variance): a window widens the density by its own variance."""
    rng = np.random.default_rng(0)
    mean, error, sigma = parzen(rng.normal(size=(2000, 1)), rng.normal(size=(4000, 1)), rng.normal(size=(4000, 1)))
    assert mean == pytest.approx(-0.5 * math.log(2 * math.pi * math.e), abs=4 * error + 0.02) and 0.1 <= sigma < 0.5


def test_parzen_far_away_does_not_underflow_and_wrong_shapes_are_refused():
    assert log_likelihoods(np.full((1, 2), 1e3), np.zeros((3, 2)), 0.1)[0] == pytest.approx(-1e8, rel=1e-6)
    with pytest.raises(ValueError, match="parzen"):
        log_likelihoods(np.zeros((2, 3)), np.zeros((2, 4)), 1.0)
