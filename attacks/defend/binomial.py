"""How sure a count makes us: the binomial distribution's tails, and the bounds of Clopper and Pearson, without SciPy.

    P(Bin(n, p) >= k) = I_p(k, n - k + 1)

with I the regularised incomplete beta function, here by its continued fraction (Abramowitz & Stegun 26.5.8, evaluated by
Lentz's method). It rises in p, so bounds on p are found by bisection to the last digits. The only error is rounding: about
1e-13 for n = 1000 and 1e-10 for n = 1e6, where logarithms of factorials lose digits.

Imports: the standard library.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist


def incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b) = integral_0^x t^(a-1) (1-t)^(b-1) dt / B(a, b), for a, b > 0 and x in [0, 1]."""
    if not (a > 0 and b > 0 and 0 <= x <= 1):
        raise ValueError(f"incomplete_beta: needs a > 0, b > 0, 0 <= x <= 1, got {a!r}, {b!r}, {x!r}")
    if x in (0.0, 1.0):
        return float(x)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly: I_x(a, b) = 1 - I_{1-x}(b, a)
        return 1.0 - _tail(b, a, 1.0 - x, x)
    return _tail(a, b, x, 1.0 - x)


def _tail(a, b, x, y):
    """I_x(a, b) with y = 1 - x: x^a y^b / (a B(a, b)) / (1 + d_1/(1 + d_2/(1 + ...)))."""
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y) - math.log(a)
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 100_000):
        for term in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                     -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1.0 + term * d
            c = 1.0 + term / c
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            value *= d * c
        if abs(d * c - 1.0) < 1e-16:
            return math.exp(log_front) * value
    raise ArithmeticError(f"incomplete_beta: the fraction did not converge for a={a}, b={b}, x={x}")


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = probability, by bisection until the interval cannot be halved."""
    if not 0 <= probability <= 1:
        raise ValueError(f"beta_quantile: probability must lie in [0, 1], got {probability!r}")
    low, high = 0.0, 1.0
    while True:
        middle = 0.5 * (low + high)
        if middle in (low, high) or high - low < 1e-15 * middle:
            return middle
        if incomplete_beta(a, b, middle) < probability:
            low = middle
        else:
            high = middle


@functools.lru_cache(maxsize=4096)
def lower_bound(successes: int, n: int, alpha: float) -> float:
    """The p that `successes` of n or more have with probability alpha: p is at least this, with confidence 1 - alpha.

    One-sided (Clopper & Pearson 1934): the alpha-quantile of Beta(k, n - k + 1). 0 for k = 0, alpha^(1/n) for k = n.
    """
    _check("lower_bound", successes, n, alpha)
    if successes == 0:
        return 0.0
    return alpha ** (1 / n) if successes == n else beta_quantile(alpha, successes, n - successes + 1)


def upper_bound(successes: int, n: int, alpha: float) -> float:
    """p is at most this, with confidence 1 - alpha, one-sided: 1 - lower_bound of the failures."""
    _check("upper_bound", successes, n, alpha)
    return 1.0 - lower_bound(n - successes, n, alpha)


def clopper_pearson(successes: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """The two-sided interval that holds p with confidence 1 - alpha: alpha / 2 on either side."""
    return lower_bound(successes, n, alpha / 2), upper_bound(successes, n, alpha / 2)


@functools.lru_cache(maxsize=4096)
def two_sided_p_value(successes: int, n: int) -> float:
    """How likely a fair coin is to give a count at least as far from n / 2: min(1, 2 P(Bin(n, 1/2) >= max(k, n - k)))."""
    _check("two_sided_p_value", successes, max(n, 1), 0.5)
    k = max(successes, n - successes)
    return 1.0 if 2 * k == n or n == 0 else min(1.0, 2.0 * incomplete_beta(k, n - k + 1, 0.5))


def normal_cdf(z: float) -> float:
    """Phi(z)."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def normal_quantile(p: float) -> float:
    """Phi^-1(p), -inf and inf for 0 and 1 (Wichura 1988, algorithm AS 241, in the standard library)."""
    return math.copysign(math.inf, p - 0.5) if p in (0.0, 1.0) else NormalDist().inv_cdf(p)


def _check(name, k, n, alpha):
    if not (n >= 1 and 0 <= k <= n and 0 < alpha < 1) or n % 1 or k % 1:
        raise ValueError(f"{name}: needs 0 <= successes <= n, n >= 1, 0 < alpha < 1, got {k!r}, {n!r}, {alpha!r}")
