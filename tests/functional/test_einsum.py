"""einsum's value and gradients over equations and patterns of axes of length 1."""

import itertools

import numpy as np
import pytest

import minigrad as mg
from minigrad.gradcheck import check_grads

EQUATIONS = [
    "ij,jk->ik",
    "ij,jk->",
    "ij,ij->",
    "ij,ij->j",
    "bij,bjk->bik",
    "i,i->",
    "i,j->ij",
    "ij,jk,kl->il",
    "ijk,jk->i",
    "ij->",
    "ij->j",
    "ij,kj->ik",
    "bhid,bhjd->bhij",
    "i...,i...->...",
    "...ij,...jk->...ik",
    "ij,jk,ki->",
    "ij,j,i->",
    "a,ab,abc->abc",
    "ij,ik->jk",
    "ab,cb,cd->ad",
    "i,->i",
    "ij,ij,ij->i",
    "ii,i->i",
    "iij->j",
    "ij",
    "ij,jk",
    "...,i->i...",
]
LENGTHS = dict(zip("abcdhijklXY", (2, 3, 4, 2, 3, 2, 3, 4, 5, 2, 3), strict=True))


def sweep():
    """Every equation with every axis of every operand once of length 1, with all of them, and with random patterns."""
    rng = np.random.default_rng(0)
    for equation in EQUATIONS:
        terms = [t.replace("...", "XY") for t in equation.split("->")[0].split(",")]
        slots = [(i, c) for i, t in enumerate(terms) for c in dict.fromkeys(t)]
        patterns = {(), tuple(slots), *((s,) for s in slots), *itertools.combinations(slots[:5], 2)}
        patterns |= {tuple(s for s in slots if rng.random() < 0.4) for _ in range(32)}
        for pattern in sorted(patterns):
            yield equation, tuple(tuple(1 if (i, c) in pattern else LENGTHS[c] for c in t) for i, t in enumerate(terms))


SWEEP = list(sweep())


def by_hand(equation, arrays, output_of):
    """The sum of products over all letters, with NumPy's broadcasting of explicit axes."""
    left = [t.replace("...", "XY") for t in equation.split("->")[0].split(",")]
    letters = sorted(set("".join(left)))
    product = 1.0
    for term, a in zip(left, arrays, strict=True):
        while len(set(term)) < len(term):  # the diagonal of a repeated letter
            c = next(c for c in term if term.count(c) > 1)
            i, j = term.index(c), term.rindex(c)
            a = np.moveaxis(np.diagonal(a, 0, i, j), -1, 0)
            term = c + "".join(x for k, x in enumerate(term) if k not in (i, j))
        order = sorted(range(len(term)), key=lambda k: letters.index(term[k]))  # noqa: B023
        shape = [a.shape[term.index(c)] if c in term else 1 for c in letters]
        product = product * a.transpose(order).reshape(shape)
    summed = tuple(k for k, c in enumerate(letters) if c not in output_of)
    kept = [c for c in letters if c in output_of]
    return np.asarray(product).sum(summed).transpose([kept.index(c) for c in output_of])


def output_of(equation):
    left, arrow, right = equation.replace("...", "XY").partition("->")
    joined = left.replace(",", "")
    return right if arrow else "".join(sorted(c for c in set(joined) if joined.count(c) == 1))


@pytest.mark.parametrize("part", range(9))
def test_the_sweep_over_patterns_of_ones_has_the_right_values_and_gradients(part):
    rng = np.random.default_rng(part)
    assert len(SWEEP) > 500
    for equation, shapes in SWEEP[part::9]:
        arrays = [rng.standard_normal(s) for s in shapes]
        letters = output_of(equation)
        xs = [mg.tensor(a, requires_grad=True) for a in arrays]
        y = mg.einsum(equation, *xs)
        np.testing.assert_allclose(
            y.array, by_hand(equation, arrays, letters), rtol=1e-10, atol=1e-10, err_msg=f"{equation} {shapes}"
        )
        u = rng.standard_normal(y.shape)
        for i, g in enumerate(mg.grad(y, xs, mg.tensor(u))):  # linear in each operand: its gradient is read off unit arrays
            assert g.shape == shapes[i], (equation, shapes)
            for at in itertools.islice(np.ndindex(shapes[i]), 12):
                unit = np.zeros(shapes[i])
                unit[at] = 1.0
                value = (by_hand(equation, [*arrays[:i], unit, *arrays[i + 1 :]], letters) * u).sum()
                np.testing.assert_allclose(g.array[at], value, rtol=1e-9, atol=1e-9, err_msg=f"{equation} {shapes} operand {i}")


def test_the_sweep_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    for equation, shapes in SWEEP:
        arrays = [rng.standard_normal(s) for s in shapes]
        xs, ts = [mg.tensor(a, requires_grad=True) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
        y, t = mg.einsum(equation, *xs), torch.einsum(equation, *ts)
        np.testing.assert_allclose(y.array, t.detach().numpy(), rtol=1e-9, atol=1e-9)
        u = rng.standard_normal(y.shape)
        for g, e in zip(mg.grad(y, xs, mg.tensor(u)), torch.autograd.grad(t, ts, torch.tensor(u)), strict=True):
            np.testing.assert_allclose(g.array, e.numpy(), rtol=1e-9, atol=1e-9, err_msg=f"{equation} {shapes}")


@pytest.mark.parametrize("equation, shapes", SWEEP[::29], ids=lambda v: str(v).replace(" ", ""))
def test_second_derivatives_with_broadcast_axes(equation, shapes):
    rng = np.random.default_rng(1)
    check_grads(lambda *xs: mg.einsum(equation, *xs), [rng.standard_normal(s) for s in shapes], 2)


def test_integers_do_not_widen_float32():
    y = mg.einsum("ij,j->i", mg.ones(2, 3), mg.tensor([1, 2, 3]))
    assert y.dtype == np.float32 and y.tolist() == [6.0, 6.0]


def test_a_repeated_letter_names_axes_of_one_length():
    with pytest.raises(ValueError, match="axes of different lengths"):
        mg.einsum("ii->i", mg.ones(1, 3))
