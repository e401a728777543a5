"""Critics of pictures: what each remedy changes in the network, and how far a patch critic sees."""

import numpy as np
import pytest

import minigrad as mg
from gan.critics import Critic, PatchCritic, with_spectral_norm
from gan.regularise import pack
from minigrad import nn
from minigrad.random import Stream
from nets.generators.dcgan import Discriminator


def pictures(count, channels=1, size=16, seed=0):
    return mg.tensor(Stream(seed, "pictures").normal((count, channels, size, size)))


def test_without_a_remedy_it_is_the_discriminator_to_the_bit_and_by_name():
    plain, critic = (kind(16, 1, 4, False, refine=1, rng=Stream(0, "critic")) for kind in (Discriminator, Critic))
    assert list(plain.state_dict()) == list(critic.state_dict())
    np.testing.assert_array_equal(plain(pictures(6)).detach().numpy(), critic(pictures(6)).detach().numpy())


def test_packed_pictures_share_a_logit():
    critic = Critic(16, 3, 4, packed=2, rng=Stream(0, "critic"))
    x = pictures(8, 3)
    assert critic(x).shape == (4,)
    np.testing.assert_array_equal(critic(x).detach().numpy(), Discriminator.forward(critic, pack(x, 2)).detach().numpy())


def test_with_stddev_a_group_of_equals_is_told_from_a_varied_one():
    """The logit of one picture depends on its company, and through the last map alone."""
    critic = Critic(16, 1, 4, group=4, rng=Stream(0, "critic"))
    one, others = pictures(1), pictures(3, seed=1)
    alone, among = mg.cat([one] * 4), mg.cat([one, others])
    assert abs(float(critic(alone)[0].item()) - float(critic(among)[0].item())) > 1e-6
    with mg.no_grad():
        critic.main[-1].weight.assign_(critic.main[-1].weight.array * np.r_[np.ones(8), 0].astype(np.float32)[None, :, None, None])
    np.testing.assert_allclose(critic(alone)[0].item(), critic(among)[0].item(), rtol=1e-5)


def test_a_class_and_a_group_go_together():
    critic, labels = Critic(16, 1, 4, group=2, classes=3, spectral=True, rng=Stream(0, "critic")), mg.tensor(np.array([0, 1, 2, 0]))
    logits = critic(pictures(4), labels).detach().numpy()
    other = critic(pictures(4), mg.tensor(np.array([1, 1, 2, 0]))).detach().numpy()
    assert logits.shape == (4,) and logits[0] != other[0]


def test_with_a_spectral_norm_every_convolution_stretches_by_one_at_most():
    critic = Critic(16, 1, 4, group=2, spectral=True, rng=Stream(0, "critic"))
    for _ in range(60):
        critic(pictures(4))
    for layer in critic.main:
        if isinstance(layer, nn.Conv2d):
            matrix = layer.weight.numpy().reshape(layer.weight.shape[0], -1)
            assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, abs=0.02)
    assert with_spectral_norm(nn.Sequential(nn.Linear(3, 2)), Stream(0, "s"))[0].weight_orig.shape == (2, 3)


def test_a_patch_sees_ten_pixels_and_no_more():
    """Every logit's gradient at the picture lies in a square of REACH pixels, and one of them fills it."""
    critic, x = PatchCritic(1, 6, rng=Stream(0, "patch")), pictures(1, size=32).requires_grad_()
    logits, widest = critic(x), 0
    assert logits.shape == (64,)
    for logit in logits:
        (g,) = mg.grad(logit, [x], retain_graph=True)
        rows, columns = np.nonzero(g.numpy()[0, 0])
        widest = max(widest, *(int(np.ptp(axis)) + 1 for axis in (rows, columns)))
    assert widest == PatchCritic.REACH


def test_wrong_numbers_are_told():
    for wrong in (dict(packed=0), dict(group=-1)):
        with pytest.raises(ValueError, match="Critic: "):
            Critic(16, 1, 4, **wrong)
    with pytest.raises(ValueError, match="no common class"):
        Critic(16, 1, 4, packed=2, classes=10)
    with pytest.raises(ValueError, match="multiple"):
        Critic(16, 1, 4, packed=2)(pictures(3))
