"""Defenses: each is what it says, falls to its own attack, and leaves the network as it was; training lowers its loss."""

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import binary, images, linear, small_network

import minigrad as mg
from attacks import L2, Linf, Targeted, Untargeted, Victim, fgsm, pgd
from attacks.commands import train
from attacks.defend import (
    Autoencoder,
    Bpda,
    DropoutAtTest,
    Ensemble,
    Hidden,
    Noisy,
    Normalized,
    Pretrained,
    Purified,
    Quantised,
    Tempered,
    decay,
    denoising_loss,
    distillation,
    linear_reach,
    noise,
    penalty,
    quantise,
    straight_through,
    textbook_cross_entropy,
    training,
)
from minigrad import data, nn, optim
from minigrad.random import Stream
from minigrad.run import Run
from nets import classifiers


def gradient_of(net, x, loss="ce", y=0):
    return Victim(net).white_box().gradient(x, lambda z: Untargeted(y).on(len(x)).objective(z, loss))[1]


# ---- BPDA ------------------------------------------------------------------------------------------------------------


def test_straight_through_has_one_value_and_the_other_derivative():
    x = mg.tensor(Stream(0, "x").normal((3, 4)), requires_grad=True)
    w = mg.tensor(Stream(0, "w").normal((3, 4)))
    y = straight_through(x * x, mg.tensor(np.rint(x.array)))
    assert np.array_equal(y.array, np.rint(x.array))
    (g,) = mg.grad((w * y).sum(), [x])
    assert np.allclose(g.array, 2 * x.array * w.array)
    with pytest.raises(ValueError, match="must agree"):
        straight_through(x, mg.zeros(3))


@given(st.integers(2, 17), st.floats(-2, 0), st.floats(0.5, 2))
def test_quantising_rounds_to_the_nearest_level_and_its_bpda_gradient_is_the_identitys(levels, low, span):
    x = mg.tensor(Stream(1, "x").uniform(low, low + span, (2, 30)), requires_grad=True)
    w = Stream(2, "w").normal((2, 30))
    grid = low + np.arange(levels) * span / (levels - 1)
    nearest = np.abs(x.array[..., None] - grid).min(-1)
    for gradient, expected in (("identity", w), ("zero", 0 * w)):
        y = quantise(x, levels, low, low + span, gradient)
        assert np.abs(y.array[..., None] - grid).min(-1).max() < 1e-5
        assert np.allclose(np.abs(y.array - x.array), nearest, atol=1e-5)
        (g,) = mg.grad((y * mg.tensor(w)).sum(), [x])
        assert np.array_equal(g.array, expected)


def test_a_quantised_network_shows_no_gradient_and_falls_to_bpda():
    net, x = small_network(), images(n=10)
    net.eval()
    built = Quantised(net, 4)
    y = Victim(built).predict(x).argmax(1)
    assert not gradient_of(built, x).any()
    blind = fgsm(Victim(built), x, Untargeted(y), Linf(0.4))
    assert blind.robust_accuracy == 1 and blind.zero_gradient.all() and "zero gradient" in blind.reason[0]
    through = pgd(Victim(built.bpda()), x, Untargeted(y), Linf(0.4), 20)
    assert through.robust_accuracy < 0.5
    assert (Victim(built).predict(through.x_adv).argmax(1) == y).mean() == through.robust_accuracy  # the very same defense


def test_bpda_of_any_function_takes_the_derivative_of_the_approximation():
    x = mg.tensor(Stream(0, "x").uniform(0, 1, (2, 5)), requires_grad=True)
    sign = Bpda(lambda t: (t - 0.5).sign(), lambda t: (4 * t).tanh())
    y = sign(x)
    assert np.array_equal(y.array, np.sign(x.array - 0.5))
    (g,) = mg.grad(y.sum(), [x])
    assert np.allclose(g.array, 4 / np.cosh(4 * x.array) ** 2, atol=1e-5)
    (g,) = mg.grad(Bpda(lambda t: t.round() if hasattr(t, "round") else t.wrap(np.rint(t.array)))(x).sum(), [x])
    assert np.array_equal(g.array, np.ones_like(x.array))


# ---- gradients that underflow ----------------------------------------------------------------------------------------


def test_temperature_zeroes_the_textbook_gradient_and_not_the_margins():
    victim, x, y, *_ = binary(1, n=8)
    hot = Victim(Tempered(victim.net, 1e-3), bounds=(-20, 20))
    assert np.array_equal(hot.predict(x).argmax(1), victim.predict(x).argmax(1))
    margin = np.abs(np.diff(hot.predict(x), axis=1)[:, 0])
    far = margin > 110
    assert far.sum() >= 4
    goal = Untargeted(y)

    def of(loss):
        return hot.white_box().gradient(x, lambda z: goal.objective(z, loss))[1]

    assert not of(textbook_cross_entropy)[far].any()
    assert of("margin").any(axis=1).all()
    masked = fgsm(hot, x[far], goal[far], Linf(10.0), loss=textbook_cross_entropy)
    plain = fgsm(hot, x[far], goal[far], Linf(10.0), loss="margin")
    assert masked.robust_accuracy == 1 and masked.zero_gradient.all() and plain.robust_accuracy == 0
    assert np.allclose(textbook_cross_entropy(mg.tensor([[1.0, 2.0, 0.5]]), Targeted([1])).array,
                       -Untargeted([1]).objective(np.array([[1.0, 2.0, 0.5]])))


def test_a_hidden_network_answers_the_same_without_a_gradient():
    net, x = small_network().eval(), images(n=4)
    assert np.array_equal(Victim(Hidden(net)).predict(x), Victim(net).predict(x))
    assert not gradient_of(Hidden(net), x).any()


def test_distillation_is_cross_entropy_with_soft_labels():
    s = Stream(0, "z")
    student, teacher = mg.tensor(s.normal((5, 4)), requires_grad=True), mg.tensor(s.normal((5, 4)), requires_grad=True)
    loss = distillation(student, teacher, 20.0)
    q, p = (np.exp(z.array / 20.0) / np.exp(z.array / 20.0).sum(1, keepdims=True) for z in (teacher, student))
    assert float(loss.array) == pytest.approx(-(q * np.log(p)).sum(1).mean(), rel=1e-5)
    loss.backward()
    assert np.allclose(student.grad.array, (p - q) / 20 / 5, atol=1e-6) and teacher.grad is None


# ---- noise, dropout, many models -------------------------------------------------------------------------------------


def test_the_noise_has_the_size_that_it_says():
    s = Stream(0, "noise")
    assert noise.draw("gaussian", 0.3, (20_000,), s).std() == pytest.approx(0.3, rel=0.03)
    u, g = noise.draw("uniform", 0.3, (20_000,), s), noise.draw("sign", 0.3, (20_000,), s)
    assert np.abs(u).max() <= 0.3 and u.std() == pytest.approx(0.3 / 3**0.5, rel=0.03)
    assert set(np.abs(g).tolist()) == {np.float32(0.3)} and abs(g.mean()) < 0.01
    with pytest.raises(ValueError, match="kind must be one of"):
        noise.draw("pink", 1, 3, s)


def test_expectation_over_draws_is_judged_by_the_majority_and_breaks_noise_at_test_time():
    """On a linear model the mean gradient is the gradient: PGD over draws finds what PGD finds without noise, and what it
    claims holds for fresh draws by majority."""
    victim, x, y, w, b = binary(2, n=12)
    sigma, eps = 2.0, 1.0
    margin = np.where(y == 1, 1, -1) * (x @ w + b)
    noisy = Noisy(victim.net, sigma, draws=25, rng=Stream(0, "noise"))
    result = pgd(Victim(noisy.one(), bounds=(-20, 20)), x, Untargeted(y), Linf(eps), 10, samples=25,
                 early_stop=False, rng=0)
    reach, spread = eps * np.abs(w).sum(), sigma * np.linalg.norm(w)
    assert result.success[~result.already_wrong & (margin < reach - spread)].all()
    assert not result.success[margin > reach + spread].any()
    votes = np.mean([Victim(noisy, bounds=(-20, 20)).predict(result.x_adv).argmax(1) for _ in range(9)], axis=0)
    sure = result.success & (np.abs(margin - reach) > spread)
    assert ((votes > 0.5).astype(int)[sure] != y[sure]).all()


def test_a_vote_counts_looks_and_carries_the_gradient_of_the_mean_probability():
    net, x = small_network().eval(), images(n=5)
    vote = Noisy(net, 0.5, draws=7, fixed=3)
    mean = Noisy(net, 0.5, draws=7, fixed=3, vote="mean")
    stream, looks = Stream(3, "noisy"), []
    for _ in range(7):
        looks.append(net(mg.tensor(x + noise.draw("gaussian", 0.5, x.shape, stream))))
    counts = sum((z.array.argmax(1)[:, None] == np.arange(4)).astype(int) for z in looks)
    assert np.allclose(Victim(vote).predict(x), np.log((counts + 0.5) / 9), atol=1e-6)
    p = np.mean([z.softmax(1).array for z in looks], axis=0)
    assert np.allclose(Victim(mean).predict(x), np.log(p), atol=1e-5)
    assert np.allclose(gradient_of(vote, x, "margin"), gradient_of(vote, x, "margin"))  # fixed: the same again
    pick = lambda z: z[:, 1]  # noqa: E731
    assert np.allclose(*(Victim(n).white_box().gradient(x, pick)[1] for n in (vote, mean)), atol=1e-7)
    free = Victim(Noisy(net, 0.5, rng=Stream(0, "noise")))
    assert not np.array_equal(free.predict(x), free.predict(x))


def test_noise_is_in_the_units_of_the_input():
    seen = []

    def net(x):
        seen.append(x.array)
        return x[:, :2]

    x = np.full((400, 50), 0.5, np.float32)
    Victim(Noisy(Normalized(net, 0.5, 0.25), 0.1, rng=Stream(0, "noise"))).predict(x)
    assert seen[0].std() == pytest.approx(0.4, rel=0.03)
    mean, std = [0.1, 0.5, 0.3], [0.2, 0.5, 1.0]
    photo = Stream(0, "x").uniform(0, 1, (2, 3, 4, 4))
    Victim(Normalized(lambda t: seen.append(t.array) or t.flatten(1)[:, :2], mean, std)).predict(photo)
    assert np.allclose(seen[-1], (photo - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1)), atol=1e-6)


def test_dropout_at_test_time_draws_and_puts_everything_back():
    net, x = small_network(), images(n=6)
    before = [(m.training, getattr(m, "p", None), getattr(m, "rng", None)) for m in net.modules()]
    still = Victim(net).predict(x)
    random = Victim(DropoutAtTest(net, rng=Stream(0, "masks")))
    assert not np.allclose(random.predict(x), random.predict(x))
    frozen = Victim(random.net.frozen(5))
    assert np.array_equal(frozen.predict(x), frozen.predict(x)) and not np.allclose(frozen.predict(x), still)
    assert np.array_equal(Victim(DropoutAtTest(net, p=0.0)).predict(x), still)
    with pytest.raises(ValueError):
        random.predict(images(side=5))
    assert [(m.training, getattr(m, "p", None), getattr(m, "rng", None)) for m in net.modules()] == before
    assert np.array_equal(Victim(net).predict(x), still)
    with pytest.raises(ValueError, match="has no Dropout"):
        DropoutAtTest(nn.Linear(2, 2))


def test_averaging_over_masks_is_judged_by_the_majority():
    net, x = small_network(dropout=0.3), images(n=8)
    victim = Victim(DropoutAtTest(net, rng=Stream(0, "masks")))
    y = Victim(net).predict(x).argmax(1)
    result = pgd(victim, x, Untargeted(y), Linf(0.4), 10, samples=11, rng=1)
    votes = np.mean([victim.predict(result.x_adv).argmax(1) == y for _ in range(31)], axis=0)
    assert result.success_rate > 0.5 and (votes[result.success] < 0.7).all()


def test_an_ensemble_is_the_mean_probability_and_is_attacked_as_one():
    nets, x = [small_network(seed).eval() for seed in range(3)], images(n=8)
    p = np.mean([mg.tensor(Victim(net).predict(x)).softmax(1).array for net in nets], axis=0)
    assert np.allclose(Victim(Ensemble(nets)).predict(x), np.log(p), atol=1e-5)
    z = np.mean([Victim(net).predict(x) for net in nets], axis=0)
    assert np.allclose(Victim(Ensemble(nets, "logits")).predict(x), z, atol=1e-5)
    victim = Victim(Ensemble(nets))
    assert len(victim.net) == 3 and len(list(victim.net.parameters())) == 3 * len(list(nets[0].parameters()))
    y = p.argmax(1)
    assert pgd(victim, x, Untargeted(y), Linf(0.5), 20).robust_accuracy < 0.5
    assert np.array_equal(Victim(Ensemble(nets[:1])).predict(x), Victim(nets[0]).predict(x))
    with pytest.raises(ValueError, match="empty"):
        Ensemble([])
    with pytest.raises(ValueError, match="same classes"):
        Victim(Ensemble([small_network(), small_network(k=3)])).predict(x)


# ---- weight decay ----------------------------------------------------------------------------------------------------


def test_the_penalty_is_of_weights_only_and_its_gradient_is_the_optimisers_weight_decay():
    net = small_network()
    w = [p.array for p in net.parameters() if p.ndim >= 2]
    assert len(w) == 2 == len(decay.weights(net))
    value = penalty(net, 0.01, 0.2)
    assert float(value.array) == pytest.approx(sum(0.01 * np.abs(a).sum() + 0.1 * (a**2).sum() for a in w), rel=1e-5)
    assert float(penalty(net, 1.0, first=True).array) == pytest.approx(np.abs(w[0]).sum(), rel=1e-5)
    penalty(net, l2=0.2).backward()
    assert np.allclose(net[0].weight.grad.array, 0.2 * w[0], atol=1e-6) and net[0].bias.grad is None
    assert float(penalty(net).array) == 0
    with pytest.raises(ValueError, match="at least 0"):
        penalty(net, -1)
    with pytest.raises(ValueError, match="no weights"):
        penalty(nn.ReLU(), 1)


@pytest.mark.parametrize("kind", [Linf, L2])
def test_on_linear_models_the_reach_tells_which_samples_are_robust(kind):
    victim, x, y, w, b = binary(5, n=30)
    reach = linear_reach(victim.net.weight.array, 0.2, kind.name)[0, 1]
    result = fgsm(victim, x, Untargeted(y), kind(0.2))
    assert np.array_equal(result.success, np.abs(x @ w + b) < reach)
    with pytest.raises(ValueError, match="norm must be one of"):
        linear_reach(victim.net.weight.array, 0.2, "l3")


# ---- generative models -----------------------------------------------------------------------------------------------


def bars(n, seed=0, size=8):
    """(n, 1, size, size) in [0, 1]: a horizontal (class 0) or vertical (1) bar on black, with y."""
    s = Stream(seed, "bars")
    y, at = s.integers(0, 2, n), s.integers(0, size, n)
    x = np.zeros((n, 1, size, size), np.float32)
    for i in range(n):
        x[(i, 0, at[i]) if y[i] == 0 else (i, 0, slice(None), at[i])] = 1
    return x, y


def trained(parameters, loss, steps=60, rate=0.01):
    adam, values = optim.Adam(parameters, rate), []
    for _ in range(steps):
        value = loss()
        adam.zero_grad()
        value.backward()
        adam.step()
        values.append(float(value.array))
    return values


def test_an_autoencoder_learns_to_restore_and_serves_as_pretraining_and_as_purifier():
    x, y = bars(128)
    s = Stream(0, "ae")
    ae = Autoencoder(1, 8, code=16, width=8, rng=s)
    values = trained(list(ae.parameters()), lambda: denoising_loss(ae, x, 0.2, s), 80)
    assert np.mean(values[-5:]) < 0.5 * values[0]
    clean = Victim(ae.encode).predict(x)
    assert clean.shape == (128, 16) and np.abs(clean).max() <= 1

    net = Pretrained(ae, 2, rng=s)
    assert net.encoder is ae.encoder
    trained(list(net.parameters()), lambda: training.standard(Victim(net), x, y).loss, 40)
    assert Victim(net).accuracy(x, y) > 0.95
    assert pgd(Victim(net), x, Untargeted(y), Linf(0.3), 10).robust_accuracy < 0.3

    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 32, rng=s), nn.ReLU(), nn.Linear(32, 2, rng=s))
    trained(list(plain.parameters()), lambda: training.standard(Victim(plain), x, y).loss, 40)
    built = Purified(plain, ae, levels=8)
    assert not gradient_of(built, x[:8]).any()
    assert gradient_of(built.bpda(), x[:8]).any()
    assert gradient_of(Purified(plain, ae), x[:8]).any()
    assert np.array_equal(Victim(built).predict(x), Victim(built.bpda()).predict(x))
    label = Victim(built).predict(x).argmax(1)
    found = pgd(Victim(built.bpda()), x[:32], Untargeted(label[:32]), Linf(0.4), 20)
    assert found.robust_accuracy < fgsm(Victim(built), x[:32], Untargeted(label[:32]), Linf(0.4)).robust_accuracy == 1


def test_a_frozen_encoder_is_not_trained():
    ae = Autoencoder(1, 8, code=4, width=2, rng=Stream(0, "ae"))
    net = Pretrained(ae, 2, freeze=True, rng=Stream(1, "head"))
    training.standard(Victim(net), *bars(4)).loss.backward()
    assert net.head.weight.grad is not None and all(p.grad is None for p in ae.encoder.parameters())
    with pytest.raises(ValueError, match="multiple of 4"):
        Autoencoder(size=30)
    with pytest.raises(ValueError, match="takes images"):
        ae(mg.zeros(1, 1, 12, 12))


# ---- training --------------------------------------------------------------------------------------------------------


def robust_loss(victim, x, y, threat):
    return float(pgd(victim, x, Untargeted(y), threat, 10, early_stop=False, attack_wrong=True, rng=7).objective.mean())


@pytest.mark.parametrize("method", ["fgsm", "fast", "pgd", "trades"])
def test_training_lowers_the_loss_under_attack(method):
    x, y = bars(96)
    s = Stream(0, "training")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24, rng=s), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 2, rng=s))
    victim, threat = Victim(net, normalize=(0.5, 0.5)), Linf(0.15)
    before, options = robust_loss(victim, x, y, threat), {"pgd": dict(steps=4), "trades": dict(steps=4)}.get(method, {})
    trained(list(net.parameters()), lambda: training.METHODS[method](victim, x, y, threat, rng=s, **options).loss, 40)
    assert robust_loss(victim, x, y, threat) < 0.5 * before
    assert net.training and all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("method", training.METHODS)
def test_every_method_trains_within_the_ball_the_box_and_the_mode_of_the_network(method):
    net, x = small_network(), images(n=8)
    y = Stream(0, "y").integers(0, 4, 8)
    victim = Victim(net, normalize=(0.5, 0.5))
    before = x.copy()
    batch = training.METHODS[method](victim, x, y, Linf(0.1), rng=Stream(1, "training"))
    assert np.array_equal(x, before)
    moved = np.asarray(batch.x_adv) - x
    assert np.abs(moved).max() <= 0.1 + 1e-6 and batch.x_adv.min() >= 0 and batch.x_adv.max() <= 1
    assert moved.any() == (method != "standard")
    assert batch.logits.shape == (8, 4) and batch.loss.shape == () and 0 <= batch.accuracy(y) <= 1
    assert net.training and int(net[1].num_batches_tracked.array) >= 1
    batch.loss.backward()
    assert all(p.grad is not None and np.isfinite(p.grad.array).all() for p in net.parameters())
    net.eval()
    training.METHODS[method](victim, x, y, Linf(0.1), rng=Stream(1, "training"))
    assert not net.training


def test_the_losses_are_the_equations():
    victim, x, y, w, b = binary(7, n=16)
    eps, s = 0.2, np.where(y == 1, 1, -1)
    clean = np.logaddexp(0, -s * (x @ w + b)).mean()
    worst = np.logaddexp(0, eps * np.abs(w).sum() - s * (x @ w + b)).mean()  # Goodfellow et al. 2014, section 5
    losses = {k: float(training.fgsm(victim, x, y, Linf(eps), alpha=k).loss.array) for k in (0, 0.25, 1)}
    assert losses == pytest.approx({0: worst, 0.25: 0.25 * clean + 0.75 * worst, 1: clean}, rel=1e-4)
    rng = Stream(0, "training")
    for batch in (training.pgd(victim, x, y, Linf(eps), rng=rng), training.fast(victim, x, y, Linf(eps), step=2, rng=rng)):
        assert float(batch.loss.array) == pytest.approx(worst, rel=1e-4)
    a, b = mg.tensor([[0.0, 1.0], [2.0, 2.0]]), mg.tensor([[1.0, 1.0], [0.0, 3.0]])
    p, q = a.softmax(1).array, b.softmax(1).array
    assert np.allclose(training.divergence(a, b).array, (p * np.log(p / q)).sum(1), atol=1e-6)
    batch = training.trades(victim, x, y, Linf(eps), beta=2.0, steps=5, rng=rng)
    kl = training.divergence(mg.tensor(victim.predict(x)), mg.tensor(victim.predict(np.asarray(batch.x_adv)))).array.mean()
    assert float(batch.loss.array) == pytest.approx(clean + 2 * kl, rel=1e-4) and kl > 0
    assert float(training.trades(victim, x, y, Linf(0.0), beta=2.0, rng=rng).loss.array) == pytest.approx(clean, rel=1e-4)


def test_equal_streams_give_equal_batches_and_calls_differ():
    victim, x, y, *_ = binary(1)
    for method in ("noise", "fast", "pgd"):
        one, two = (Stream(0, "training") for _ in range(2))
        draw = lambda s, method=method: np.asarray(training.METHODS[method](victim, x, y, Linf(0.5), rng=s).x_adv)  # noqa: E731
        first = draw(one)
        assert np.array_equal(first, draw(two))
        assert not np.array_equal(first, draw(one)) or method == "pgd"  # on a linear model PGD ends in the same corner


def test_the_random_start_of_fast_training_survives_at_black_pixels():
    """x = 0, a rising loss: x' = min(u + 1.25 eps, eps), below eps for u < -eps / 4, a share of 0.375; cut to the box, never."""
    victim, eps = Victim(linear(np.stack([np.zeros(20_000), np.ones(20_000)]), np.zeros(2))), 0.3
    x, y = np.zeros((1, 20_000), np.float32), np.zeros(1, int)
    free, cut = (np.asarray(training.fast(victim, x, y, Linf(eps), rng=Stream(0, "training"), clip_start=c).x_adv)
                 for c in (False, True))
    assert (cut == np.float32(eps)).all()
    assert free.min() >= eps / 4 - 1e-6 and free.max() <= np.float32(eps)
    assert (free < eps - 1e-6).mean() == pytest.approx(0.375, abs=0.02)  # 6 standard deviations
    assert free[free < eps - 1e-6].mean() == pytest.approx(0.625 * eps, rel=0.01)
    falling = training.fast(victim, x, y + 1, Linf(eps), rng=Stream(0, "training")).x_adv  # down from 0 the box ends
    assert (np.asarray(falling) == 0).all()


def test_epsilon_warms_up_and_stays():
    factors = [training.warmup(step, 100, 0.4) for step in range(1, 101)]
    assert factors[19] == 0.5 and factors[39:] == [1.0] * 61 and factors == sorted(factors)
    assert training.warmup(1, 100, 0) == 1
    with pytest.raises(ValueError, match="share"):
        training.warmup(1, 10, 2)


def test_wrong_options_are_refused():
    victim, x, y, *_ = binary(0)
    with pytest.raises(ValueError, match="alpha must lie"):
        training.fgsm(victim, x, y, Linf(0.1), alpha=2)
    with pytest.raises(ValueError, match="beta must be at least 0"):
        training.trades(victim, x, y, Linf(0.1), beta=-1)
    with pytest.raises(ValueError, match="kind"):
        Noisy(linear(np.eye(2), np.zeros(2)), 0.1, "pink")
    with pytest.raises(ValueError, match="draws must be an integer"):
        Noisy(linear(np.eye(2), np.zeros(2)), 0.1, draws=0)
    with pytest.raises(ValueError, match="temperature"):
        Tempered(linear(np.eye(2), np.zeros(2)), 0)
    with pytest.raises(ValueError, match="levels"):
        quantise(mg.zeros(2), 1)


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_data(monkeypatch):
    """--data is 96 bars of 16 pixels."""
    x, y = bars(96, size=16)
    small = data.Dataset(np.uint8(255 * x), y, classes=("across", "up"))
    monkeypatch.setattr(data, "load", lambda *a, **kw: small)
    return small


@pytest.mark.parametrize("method", training.METHODS)
@pytest.mark.parametrize("network", ["strided", "lenet"])
def test_the_command_writes_a_run_that_others_take_for_a_classifier(method, network, small_data, tmp_path, capsys):
    train.main(["--method", method, "--steps", "4", "--batch", "32", "--width", "2", "--out", str(tmp_path), "--inner-steps", "2",
                "--l1", "1e-4", "--dropout", "0.2", "--network", network])
    run = Run.open(tmp_path / f"trained-{method}-0001", quiet=True)
    net = classifiers.trained(run)
    assert type(net).__name__.lower() == network
    assert run.step == 4 and net(mg.zeros(2, 1, 16, 16)).shape == (2, 2)
    assert "under PGD-20" in capsys.readouterr().out and (tmp_path / run.name / "report.html").exists()


def test_a_run_goes_on_where_it_stopped(small_data, tmp_path):
    common = ["--method", "fast", "--batch", "32", "--width", "2", "--warmup", "0", "--steps", "6"]
    train.main([*common, "--out", str(tmp_path / "a")])
    kept = Run.checkpoint

    def killed(self, step, tree):
        kept(self, step, tree)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "checkpoint", killed)
        loop = Run.loop
        patch.setattr(Run, "loop", lambda self, *a, save, **kw: loop(self, *a, save=save, every=4))
        with pytest.raises(KeyboardInterrupt):
            train.main([*common, "--out", str(tmp_path / "b")])
    gc.collect()  # the traceback holds the run, and the run its lock
    train.main(["--resume", str(tmp_path / "b" / "trained-fast-0001")])
    one, two = (Run.open(tmp_path / f / "trained-fast-0001", quiet=True).restored["network"] for f in "ab")
    assert all(np.array_equal(one[k], two[k]) for k in one)


def test_when_accuracy_under_pgd_collapses_the_last_good_weights_are_the_result(small_data, tmp_path, monkeypatch, capsys):
    found, seen = iter([0.8, 0.9, 0.3]), []

    def probe(victim, *_):
        seen.append({k: np.array(v) for k, v in victim.net.state_dict().items()})
        return next(found)

    monkeypatch.setattr(train, "probe", probe)
    train.main(["--early-stop", "--steps", "15", "--batch", "32", "--width", "2", "--out", str(tmp_path)])
    final = Run.open(tmp_path / "trained-fast-0001", quiet=True).restored["network"]
    assert len(seen) == 3 and all(np.array_equal(final[k], seen[1][k]) for k in final)
    assert not all(np.array_equal(seen[2][k], seen[1][k]) for k in final)
    assert "fell from 90.0 % to 30.0 %; back to step 6" in capsys.readouterr().out
