"""Pictures of any precision: what is returned lies in ball and box as it stands, and was judged as it stands, also in float16."""

from types import SimpleNamespace

import numpy as np
import pytest

from attacks import L0, L1, L2, Linf, Untargeted, Victim
from attacks.commands.helpers import setting
from attacks.commands.helpers.catalogue import ATTACKS, perform
from minigrad.random import Stream
from tests.attacks.test_units import FEW, MORE, RADII, network

MEASURES = {"linf": Linf(0), "l2": L2(0), "l1": L1(0), "l0": L0(0)}
pytestmark = pytest.mark.filterwarnings("ignore:.*too short")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name, norm", [(name, norm) for name, a in ATTACKS.items() for norm in a.norms])
def test_what_is_returned_is_in_ball_and_box_and_was_judged_as_it_is(name, norm, dtype):
    victim = Victim(network())
    x = np.clip(Stream(2, "pictures").uniform(-0.2, 1.2, (6, 1, 8, 8)), 0, 1).astype(dtype)
    y = victim.predict(x).argmax(1)
    threat = setting.ball(norm, RADII[norm]) if "threat" in ATTACKS[name].takes else None
    found = perform(ATTACKS[name], victim, x, Untargeted(y), threat, SimpleNamespace(norm=norm, **{**FEW, **MORE.get(name, {})}))
    assert found.x_adv.dtype == dtype and found.x_adv.min() >= 0 and found.x_adv.max() <= 1
    assert (victim.predict(found.x_adv).argmax(1) != y)[found.success].all()
    size = MEASURES[norm].size(found.x_adv.astype(np.float64) - x)
    np.testing.assert_allclose(found.distance[found.success], size[found.success], rtol=1e-12)
    if threat is not None:
        assert (size <= threat.epsilon).all() and (found.at(threat.epsilon).success == found.success).all()
    for epsilon in found.distance[found.success]:
        assert (found.at(epsilon).success == (found.success & (size <= epsilon * (1 + 1e-6)))).all()
