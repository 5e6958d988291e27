"""Student's t distribution for any number of degrees of freedom, whole or not; arrays in, arrays out.

Source: the incomplete beta function by Lentz's continued fraction (Press et al., "Numerical Recipes", section 6.4).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TERMS = 200
"""Of the continued fraction; with up to 10^4 degrees of freedom 60 give twelve digits."""
_TINY = 1e-300
_MAX_DEGREES = 1e4
"""Beyond it the distribution is the normal one to four digits, and is taken to have no more."""
_FARTHEST = 1e100
_LARGEST = 1e6
"""No point of interest lies beyond, even with one degree of freedom."""
_HALVINGS = 70
_MANY, _FEW = 20_000, 4
"""More values, and no more different degrees of freedom, are looked up in a table."""
_GRID = np.sinh(np.linspace(-14, 14, 8001))
"""Where the table stands: close together around zero, and up to 600,000."""


def student_cdf(values: ArrayLike, *, degrees: ArrayLike) -> NDArray[np.float64]:
    """The probability of at most these values, each with its degrees of freedom (above 0)."""
    value, degree = np.broadcast_arrays(np.asarray(values, dtype=np.float64), np.asarray(degrees, dtype=np.float64))
    degree = np.minimum(degree, _MAX_DEGREES)
    if value.size <= _MANY:
        return _cdf(value, degree)
    kinds = np.unique(degree)
    if len(kinds) > _FEW:
        return _cdf(value, degree)
    # Thousands of architectures against each other, with one or two degrees of freedom: looked up, six digits.
    found = np.empty_like(value)
    for kind in kinds:
        own = degree == kind
        found[own] = np.interp(value[own], _GRID, _cdf(_GRID, np.full_like(_GRID, kind)))
    return found


def normal_cdf(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The normal probability of at most these values; of many of them looked up, six digits."""
    erf = np.vectorize(math.erf, otypes=[np.float64])
    if values.size <= _MANY:
        return np.asarray(0.5 * (1 + erf(values / math.sqrt(2))), dtype=np.float64)
    return np.asarray(np.interp(values, _GRID, 0.5 * (1 + erf(_GRID / math.sqrt(2)))), dtype=np.float64)


def _cdf(value: NDArray[np.float64], degree: NDArray[np.float64]) -> NDArray[np.float64]:
    square = np.minimum(np.abs(value), _FARTHEST) ** 2
    tail = 0.5 * _incomplete_beta(degree / 2, 0.5, degree / (degree + square))
    return np.asarray(np.where(value > 0, 1.0 - tail, tail), dtype=np.float64)


def student_point(probability: float, *, degrees: ArrayLike) -> NDArray[np.float64]:
    """The value that is not exceeded with this probability (0.5 to 1): 2.776 of 0.975 with 4 degrees of freedom."""
    degree = np.asarray(degrees, dtype=np.float64)
    if not (0.5 <= probability < 1.0 and (degree > 0).all()):
        raise ValueError(f"student_point: probability {probability} must be from 0.5 to 1, degrees {degree} above 0")
    unique, places = np.unique(degree, return_inverse=True)
    low, high = np.zeros_like(unique), np.full_like(unique, _LARGEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = student_cdf(middle, degrees=unique) < probability
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray(high[places].reshape(degree.shape), dtype=np.float64)


def _incomplete_beta(a: NDArray[np.float64], b: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The regularised incomplete beta function; the fraction converges below (a + 1) / (a + b + 2), else it turns."""
    turned = x > (a + 1) / (a + b + 2)
    first, second = np.where(turned, b, a), np.where(turned, a, b)
    at = np.where(turned, 1 - x, x)
    log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])
    with np.errstate(divide="ignore"):
        front = (
            log_gamma(a + b)
            - log_gamma(a)
            - math.lgamma(b)
            + first * np.log(at)
            + second * np.log1p(-np.minimum(at, 1 - 1e-16))
        )
    found = np.exp(front) / first * _fraction(first, second, at)
    return np.asarray(np.where(turned, 1 - found, found), dtype=np.float64)


def _fraction(a: NDArray[np.float64], b: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    c = np.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    found = d.copy()
    for term in range(1, _TERMS):
        even = term * (b - term) * x / ((a + 2 * term - 1) * (a + 2 * term))
        odd = -(a + term) * (a + b + term) * x / ((a + 2 * term) * (a + 2 * term + 1))
        for factor in (even, odd):
            d = 1 / _away_from_zero(1 + factor * d)
            c = _away_from_zero(1 + factor / c)
            found *= c * d
        if np.all(np.abs(c * d - 1) < 1e-13):
            break
    return found


def _away_from_zero(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(values) < _TINY, _TINY, values)
