"""Student's t distribution for any positive number of degrees of freedom, on arrays.

Source: the incomplete beta function by Lentz's continued fraction (Press et al., "Numerical Recipes", section 6.4).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TERMS = 200
"""Most terms of the continued fraction. Up to 10^4 degrees of freedom 60 terms give twelve digits."""
_TINY = 1e-300
_MAX_DEGREES = 1e4
"""With more degrees of freedom the distribution equals the normal one to four digits; this number is used instead."""
_FARTHEST = 1e100
_LARGEST = 1e6
"""Larger points are not needed, even with one degree of freedom."""
_HALVINGS = 70
_MANY, _FEW = 20_000, 4
"""More values than the first, with at most so many different degrees of freedom, are looked up in a table."""
_GRID = np.sinh(np.linspace(-14, 14, 8001))
"""Points of the table: dense around zero, and up to 600,000."""


def student_cdf(values: ArrayLike, *, degrees: ArrayLike) -> NDArray[np.float64]:
    """Returns the probability of at most these values, each with its degrees of freedom (above 0)."""
    value, degree = np.broadcast_arrays(np.asarray(values, dtype=np.float64), np.asarray(degrees, dtype=np.float64))
    degree = np.minimum(degree, _MAX_DEGREES)
    if value.size <= _MANY:
        return _cdf(value, degree)
    kinds = np.unique(degree)
    if len(kinds) > _FEW:
        return _cdf(value, degree)
    # Thousands of architectures in pairs have one or two degrees of freedom. The table gives six digits.
    probability = np.empty_like(value)
    for kind in kinds:
        own = degree == kind
        probability[own] = np.interp(value[own], _GRID, _cdf(_GRID, np.full_like(_GRID, kind)))
    return probability


def tabulated_normal_cdf(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the normal probability of at most these values; many values are looked up to six digits."""
    erf = np.vectorize(math.erf, otypes=[np.float64])
    if values.size <= _MANY:
        return np.asarray(0.5 * (1 + erf(values / math.sqrt(2))), dtype=np.float64)
    return np.asarray(np.interp(values, _GRID, 0.5 * (1 + erf(_GRID / math.sqrt(2)))), dtype=np.float64)


def _cdf(value: NDArray[np.float64], degree: NDArray[np.float64]) -> NDArray[np.float64]:
    square = np.minimum(np.abs(value), _FARTHEST) ** 2
    tail = 0.5 * _incomplete_beta(degree / 2, 0.5, degree / (degree + square))
    return np.asarray(np.where(value > 0, 1.0 - tail, tail), dtype=np.float64)


def student_point(probability: float, *, degrees: ArrayLike) -> NDArray[np.float64]:
    """Returns the value that is not exceeded with this probability (0.5 to 1): 2.776 for 0.975 and 4 degrees."""
    degree = np.asarray(degrees, dtype=np.float64)
    if not (0.5 <= probability < 1.0 and (degree > 0).all()):
        raise ValueError(f"student_point: probability {probability} must be from 0.5 to 1, degrees {degree} above 0")
    unique, indices = np.unique(degree, return_inverse=True)
    low, high = np.zeros_like(unique), np.full_like(unique, _LARGEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = student_cdf(middle, degrees=unique) < probability
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray(high[indices].reshape(degree.shape), dtype=np.float64)


def _incomplete_beta(a: NDArray[np.float64], b: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the regularised incomplete beta function, above (a + 1) / (a + b + 2) by symmetry.

    The continued fraction converges fast below that point only.
    """
    mirrored = x > (a + 1) / (a + b + 2)
    first, second = np.where(mirrored, b, a), np.where(mirrored, a, b)
    at = np.where(mirrored, 1 - x, x)
    log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])
    with np.errstate(divide="ignore"):
        log_factor = (
            log_gamma(a + b)
            - log_gamma(a)
            - math.lgamma(b)
            + first * np.log(at)
            + second * np.log1p(-np.minimum(at, 1 - 1e-16))
        )
    value = np.exp(log_factor) / first * _fraction(first, second, at)
    return np.asarray(np.where(mirrored, 1 - value, value), dtype=np.float64)


def _fraction(a: NDArray[np.float64], b: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    c = np.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d.copy()
    for term in range(1, _TERMS):
        even = term * (b - term) * x / ((a + 2 * term - 1) * (a + 2 * term))
        odd = -(a + term) * (a + b + term) * x / ((a + 2 * term) * (a + 2 * term + 1))
        for factor in (even, odd):
            d = 1 / _away_from_zero(1 + factor * d)
            c = _away_from_zero(1 + factor / c)
            value *= c * d
        if np.all(np.abs(c * d - 1) < 1e-13):
            break
    return value


def _away_from_zero(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(values) < _TINY, _TINY, values)
