"""The law of r^2 between random directions, Beta(1/2, b), in plain floats.

`scipy.special` has all of this; importing it costs twice what a whole small report does, so the tests use it as the
reference and the report does not import it.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, expm1, inf, lgamma, log, log1p, sqrt

TOLERANCE = 1e-15
TINY = 1e-300


@lru_cache(maxsize=4096)
def beta_tail(x: float, b: float) -> float:
    """P(X > x) for X ~ Beta(1/2, b).

    Args:
        x: in [0, 1].
        b: > 0.

    Returns:
        A probability, to about 1e-13 relative, also far out in the tail.

    >>> round(beta_tail(0.5, 0.5), 12)
    0.5
    """
    if x <= 0:
        return 1.0
    if x >= 1:
        return 0.0
    if x < 1.5 / (b + 2.5):
        return 1.0 - _beta_fraction(0.5, b, x, log1p(-x), log(x))
    return _beta_fraction(b, 0.5, 1.0 - x, log(x), log1p(-x))


def _beta_fraction(a: float, b: float, x: float, log_rest: float, log_x: float) -> float:
    """The regularised incomplete beta function I_x(a, b) by its continued fraction (Lentz), for x < (a+1)/(a+b+2).

    Source: DLMF 8.17.22. `log_rest` is log(1 - x).
    """
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log_x + b * log_rest) / a
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > TINY else TINY)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > TINY else TINY)
            c = 1.0 + term / c
            c = c if abs(c) > TINY else TINY
            step = c * d
            value *= step
        if abs(step - 1.0) < TOLERANCE:
            break
    return front * value


@lru_cache(maxsize=4096)
def beta_tail_inverse(tail: float, b: float) -> float:
    """The x with P(X > x) = tail for X ~ Beta(1/2, b); tail in (0, 1).

    >>> round(beta_tail(beta_tail_inverse(1e-9, 35.5), 35.5) * 1e9, 9)
    1.0
    """
    low, high = 0.0, 1.0
    x = 0.5
    log_norm = lgamma(b + 0.5) - lgamma(0.5) - lgamma(b)
    for _ in range(200):
        found = beta_tail(x, b)
        if found > tail:
            low = x
        else:
            high = x
        # Newton on log tail, whose slope is -density/tail; bisection where that leaves the bracket.
        density = exp(log_norm - 0.5 * log(x) + (b - 1.0) * log1p(-x))
        slope = -density / found if found > 0 else -inf
        step = (log(found) - log(tail)) / slope if found > 0 and slope not in (0.0, -inf) else inf
        closer = x - step
        following = closer if low < closer < high else 0.5 * (low + high)
        if abs(following - x) <= 4e-16 * x:
            return following
        x = following
    return x


def t_quantile(freedom: float) -> float:
    """The .975 quantile of Student's t, for any freedom > 0, since t^2/(freedom + t^2) ~ Beta(1/2, freedom/2).

    >>> round(t_quantile(10), 6)
    2.228139
    """
    u = beta_tail_inverse(0.05, 0.5 * freedom)
    return sqrt(freedom * u / (1.0 - u))


def largest_r_quantile(dimension: int, n_pairs: int, level: float = 0.95) -> float:
    """The `level` point of max |r| over pairs of random directions: F(t)^n_pairs = level, r^2 ~ Beta(1/2, (D-1)/2).

    >>> round(largest_r_quantile(575, 2016), 3)
    0.174
    """
    tail = -expm1(log(level) / n_pairs)
    return sqrt(beta_tail_inverse(tail, 0.5 * (dimension - 1)))


def largest_r_pvalue(largest: float, dimension: int, n_pairs: int) -> float:
    """P(max |r| >= largest) over `n_pairs` pairs of random directions in `dimension` dimensions.

    >>> round(largest_r_pvalue(0.174, 575, 2016), 2)
    0.05
    """
    tail = beta_tail(min(1.0, largest * largest), 0.5 * (dimension - 1))
    return 1.0 if tail >= 1 else -expm1(n_pairs * log1p(-tail))
