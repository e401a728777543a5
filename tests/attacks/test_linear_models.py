"""200 random linear models at once: every attack against the exact answer, as `python -m attacks linear` prints it."""

import numpy as np
import pytest

from attacks.commands.linear import FAR, MEASURES, Models

SOME = {"Carlini & Wagner": 0, "Boundary": 0, "HopSkipJump": 40, "smoothing": 40}  # models where 200 take long; 0: the command's
QUICK = [m for m in MEASURES if SOME.get(m.attack, 200) and m.promise]


@pytest.fixture(scope="module")
def models():
    return {(n, k): Models(n, k) for n in (40, 200) for k in (2, 5)}


@pytest.mark.parametrize("measure", QUICK, ids=[m.name for m in QUICK])
def test_what_is_found_is_the_exact_answer_within_what_is_promised(measure, models):
    ratios = measure.ratios(models[SOME.get(measure.attack, 200), measure.classes], 0)
    assert np.isfinite(ratios).all() and abs(np.median(ratios) / measure.aim - 1) < measure.promise
    if measure.attack in ("FGSM", "PGD", "smoothing"):  # nothing gains more than there is
        assert ratios.max() < 1 + 2e-3
    else:
        assert ratios.min() > 1 - 1e-4 and ratios.max() < measure.aim + 3 * measure.promise


@pytest.mark.parametrize("classes", [2, 5])
def test_the_models_are_linear_apart_and_exact(classes, models):
    many = models[200, classes]
    rng = np.random.default_rng(0)
    d = rng.normal(size=many.x.shape).astype(np.float32)
    d *= FAR / np.linalg.norm(d, axis=1, keepdims=True) * rng.random((200, 1)).astype(np.float32)
    z = many.victim.predict(np.clip(many.x + d, -16, 16))
    moved = np.clip(many.x + d, -16, 16) - many.x
    np.testing.assert_allclose(z, np.einsum("nkd,nd->nk", many.weight, moved) + many.bias, atol=1e-3)
    order = np.random.default_rng(1).permutation(200)
    np.testing.assert_allclose(many.victim.predict(many.x[order]), many.bias[order], atol=1e-5)
    for norm, kind in (("l2", 2), ("l1", np.inf), ("linf", 1)):
        m = 7
        gaps = [(many.bias[m, many.y[m]] - many.bias[m, k]) / np.linalg.norm(many.weight[m, k] - many.weight[m, many.y[m]], kind)
                for k in range(classes) if k != many.y[m]]
        assert many.exact(norm)[m] == pytest.approx(min(gaps), rel=1e-5)
    start = many.away()
    assert (many.victim.predict(start).argmax(1) != many.y).all()
    with pytest.raises(ValueError, match="apart"):
        Models(200, size=3)
