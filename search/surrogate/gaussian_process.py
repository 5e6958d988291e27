"""A Gaussian process over encoded candidates, with one length scale for each group of columns.

Small on purpose: a search has tens to hundreds of records, and a proposal may take milliseconds. A library would add an
optimiser, a tensor type and seconds of import time.

Axes: N candidates, M records, F feature columns, G groups of columns, P further records, K selected records.

Source: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning: equations 2.25, 2.26 and 5.9; the kernel
is Matern 5/2 with automatic relevance determination, with a prior on every hyperparameter (maximum a posteriori), plus
a linear term (section 4.2.2): the best candidates lie at corners of a space, such as the densest wiring, and there a
stationary kernel alone returns to the mean.
Cost: fitting is O(steps * G * M^2 + steps * M^3) with M at most `FIT_RECORDS`; predicting O(N * M^2).
"""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Precision = TypeVar("Precision", np.float32, np.float64)

FIT_RECORDS = 96
"""Maximum number of records that the few hyperparameters are fitted to: a step costs M^3."""
_STEPS = 40
_PATIENCE = 6
"""Number of steps without an improvement after which fitting ends. The steps are long and soon pass the optimum."""
_STEP_SIZE = 0.25
_BLOCK = 100_000
"""Number of entries of a kernel matrix that are computed at once, so that they fit the processor's cache."""
_JITTER = 1e-6
"""Added to the diagonal, as a share of the values' variance: keeps the matrix positive definite."""
_LOG_SD, _NOISE_LOG_SD = 0.4, 1.5
"""Standard deviations of the priors, of logarithms. Wider ones give the most probable hyperparameters of few records
too much trust: forecasts were off by 1.5 of their standard deviations instead of 1."""
_LINEAR_MEDIAN = 0.5
_NOISE_LOG_MEAN = -4.0
"""The prior noise is a fiftieth of the values' variance."""


class Hyperparameters(NamedTuple):
    """The hyperparameters for standardised values; all positive."""

    weights_G: FloatArray
    """Inverse squared length scale of each group of columns."""
    amplitude: float
    """Variance of the function without its linear term."""
    linear: float
    """Variance of the linear term, over the amplitude, at a mean square of 1 in each group of columns."""
    noise: float
    """Variance of the noise of every record."""


class Posterior(NamedTuple):
    """A normal distribution for each candidate."""

    mean_N: FloatArray
    sd_N: FloatArray


class Population(NamedTuple):
    """The distribution of values over all candidates."""

    mean: float
    sd: float


class GaussianProcess:
    """A process that is conditioned on records and predicts candidates. Values are standardised internally."""

    def __init__(
        self,
        features_MF: FloatArray,
        values_M: FloatArray,
        *,
        noise_MM: FloatArray,
        groups_F: NDArray[np.intp],
        population: Population | None = None,
        hyperparameters: Hyperparameters | None = None,
    ):
        """`noise_MM` is the covariance of the records' errors, in the values' squared unit, beyond the common noise.

        `population` is the prior distribution of the values, by default that of the records. `hyperparameters` are
        fitted where they are not given.
        """
        self._mean = float(values_M.mean()) if population is None else population.mean
        self._scale = (float(values_M.std()) if population is None else population.sd) or 1.0
        targets_M, scaled_noise_MM = (values_M - self._mean) / self._scale, noise_MM / self._scale**2
        if hyperparameters is None:
            few = evenly(len(values_M), FIT_RECORDS)
            hyperparameters = fit(
                features_MF[few], targets_M[few], noise_MM=scaled_noise_MM[np.ix_(few, few)], groups_F=groups_F
            )
        self.hyperparameters = hyperparameters
        self._weights_F = np.sqrt(self.hyperparameters.weights_G)[groups_F]
        self._product_frac = self.hyperparameters.linear / (int(groups_F.max()) + 1)
        self._condition(features_MF, targets_M, scaled_noise_MM)

    def _condition(self, features_MF: FloatArray, targets_M: FloatArray, noise_MM: FloatArray) -> None:
        self._features_MF, self._targets_M, self._noise_MM = features_MF, targets_M, noise_MM
        self._scaled_MF = features_MF * self._weights_F
        kernel_MM = self._kernel(slice(None))
        shared_MM = (self.hyperparameters.noise + _JITTER) * np.eye(len(targets_M))
        factor_MM = np.linalg.cholesky(kernel_MM + noise_MM + shared_MM)
        self._inverse_MM = _inverse(factor_MM)
        self._weights_M = self._inverse_MM.T @ (self._inverse_MM @ targets_M)

    def conditioned(self, features_PF: FloatArray, values_P: FloatArray) -> GaussianProcess:
        """Returns the process given `P` further records without errors, with the same hyperparameters."""
        other = copy(self)
        other._condition(
            np.concatenate([self._features_MF, features_PF]),
            np.concatenate([self._targets_M, (values_P - self._mean) / self._scale]),
            np.pad(self._noise_MM, (0, len(values_P))),
        )
        return other

    def _kernel(self, index_K: NDArray[np.intp] | slice) -> FloatArray:
        """Returns the kernel `[K, M]` of some records with all."""
        stationary_KM = matern(squared_distances(self._scaled_MF[index_K], self._scaled_MF))
        linear_KM = self._product_frac * (self._features_MF[index_K] @ self._features_MF.T)
        return np.asarray(self.hyperparameters.amplitude * (stationary_KM + linear_KM))

    def leave_one_out_residuals(self) -> FloatArray:
        """Returns the standardised residual `[M]` of each record, predicted from the others."""
        return np.asarray(self._weights_M / np.sqrt(np.square(self._inverse_MM).sum(axis=0)))

    def leave_one_out_errors(self) -> FloatArray:
        """Returns the error `[M]` of each record's prediction from the others, in the values' unit."""
        return np.asarray(self._scale * self._weights_M / np.square(self._inverse_MM).sum(axis=0))

    @property
    def noise_sd(self) -> float:
        """Standard deviation of the noise of every record, in the values' unit."""
        return self._scale * float(np.sqrt(self.hyperparameters.noise))

    def values(self, index_K: NDArray[np.intp]) -> Posterior:
        """Returns the posterior of some records' true values, `[K]`: with the common noise, without the errors.

        A record's value is the outcome of its own trial, not that of another trial with the same features.
        """
        kernel_KM = self._kernel(index_K)
        kernel_KM[np.arange(len(index_K)), index_K] += self.hyperparameters.noise + _JITTER
        prior_K = kernel_KM[np.arange(len(index_K)), index_K]
        root_KM = kernel_KM @ self._inverse_MM.T
        variance_K = np.maximum(prior_K - np.square(root_KM).sum(axis=1), 0.0)
        return Posterior(kernel_KM @ self._weights_M * self._scale + self._mean, np.sqrt(variance_K) * self._scale)

    def predict(self, features_NF: FloatArray) -> Posterior:
        """Returns the posterior of the function itself, without noise."""
        # Single precision from here on, which takes half the time. The noise keeps the inverse small, and an error of
        # 1e-6 of the amplitude does not change a decision.
        amplitude = self.hyperparameters.amplitude
        scaled_NF, features_NF = (features_NF * self._weights_F).astype(np.float32), features_NF.astype(np.float32)
        scaled_MF, weights_M = self._scaled_MF.astype(np.float32), self._weights_M.astype(np.float32)
        inverse_MM = self._inverse_MM.astype(np.float32)
        linear_FM = (self._product_frac * self._features_MF.T).astype(np.float32)
        mean_N, explained_N = np.empty(len(scaled_NF)), np.zeros(len(scaled_NF))
        rows = max(1, _BLOCK // len(scaled_MF))
        half = len(scaled_MF) // 2
        for start in range(0, len(scaled_NF), rows):
            block = slice(start, start + rows)
            kernel_BM = matern(squared_distances(scaled_NF[block], scaled_MF))
            kernel_BM += features_NF[block] @ linear_FM
            mean_N[block] = kernel_BM @ weights_M
            # The inverse is lower triangular: the first half of its rows is zero in the second half of the columns.
            for root_BH in (kernel_BM[:, :half] @ inverse_MM[:half, :half].T, kernel_BM @ inverse_MM[half:].T):
                explained_N[block] += np.einsum("bh,bh->b", root_BH, root_BH)
        prior_N = 1.0 + self._product_frac * np.square(features_NF).sum(axis=1)
        mean_N, variance_N = amplitude * mean_N, amplitude * np.maximum(prior_N - amplitude * explained_N, 1e-8)
        return Posterior(mean_N * self._scale + self._mean, np.sqrt(variance_N) * self._scale)


def fit(
    features_MF: FloatArray, targets_M: FloatArray, *, noise_MM: FloatArray, groups_F: NDArray[np.intp]
) -> Hyperparameters:
    """Returns the most probable hyperparameters of standardised targets, by Adam steps from the prior mean.

    A pure function: the same records give the same hyperparameters.
    """
    num_groups = int(groups_F.max()) + 1
    distances_GMM = np.stack(
        [
            squared_distances(features_MF[:, groups_F == group], features_MF[:, groups_F == group])
            for group in range(num_groups)
        ]
    )
    linear_MM = features_MF @ features_MF.T / num_groups
    mean = np.r_[np.full(num_groups, -np.log(num_groups)), 0.0, np.log(_LINEAR_MEDIAN), _NOISE_LOG_MEAN]
    spread = np.r_[np.full(num_groups + 2, _LOG_SD), _NOISE_LOG_SD]
    logs = mean.copy()
    best_logs, lowest, best_step = logs, np.inf, 0
    first, second = np.zeros_like(logs), np.zeros_like(logs)
    for step in range(1, _STEPS + 1):
        found = _objective(logs, distances_GMM, linear_MM, targets_M, noise_MM)
        if found is None:
            break
        value = found.value + 0.5 * float(np.square((logs - mean) / spread).sum())
        if value < lowest:
            best_logs, lowest, best_step = logs, value, step
        elif step - best_step >= _PATIENCE:
            break
        gradient = found.gradient + (logs - mean) / spread**2
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        logs = logs - _STEP_SIZE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.95**step)) + 1e-8)
    values = np.exp(best_logs)
    return Hyperparameters(values[:-3], *(float(item) for item in values[-3:]))


def prior_covariance(features_MF: FloatArray, *, groups_F: NDArray[np.intp]) -> FloatArray:
    """Returns the covariance `[M, M]` of standardised values, noise included, at the prior mean of hyperparameters."""
    num_groups = int(groups_F.max()) + 1
    scaled_MF = features_MF / np.sqrt(num_groups)
    kernel_MM = matern(squared_distances(scaled_MF, scaled_MF)) + _LINEAR_MEDIAN * (scaled_MF @ scaled_MF.T)
    return np.asarray(kernel_MM + (np.exp(_NOISE_LOG_MEAN) + _JITTER) * np.eye(len(features_MF)))


class _Objective(NamedTuple):
    value: float
    gradient: FloatArray


def _objective(
    logs: FloatArray, distances_GMM: FloatArray, linear_MM: FloatArray, targets_M: FloatArray, noise_MM: FloatArray
) -> _Objective | None:
    """Returns the negative log marginal likelihood and its gradient by the logarithms; `None` on failure."""
    weights_G = np.exp(logs[:-3])
    amplitude, linear, noise = (float(item) for item in np.exp(logs[-3:]))
    squared_MM = np.tensordot(weights_G, distances_GMM, axes=1)
    kernel_MM = amplitude * (matern(squared_MM) + linear * linear_MM)
    try:
        factor_MM = np.linalg.cholesky(kernel_MM + noise_MM + (noise + _JITTER) * np.eye(len(targets_M)))
    except np.linalg.LinAlgError:
        return None
    root_MM = _inverse(factor_MM)
    inverse_MM = root_MM.T @ root_MM
    solved_M = inverse_MM @ targets_M
    value = 0.5 * float(targets_M @ solved_M) + float(np.log(np.diag(factor_MM)).sum())
    # d value / d K. Every derivative by a hyperparameter is a sum over its entries.
    slope_MM = 0.5 * (inverse_MM - np.outer(solved_M, solved_M))
    by_squared_MM = slope_MM * amplitude * _matern_slope(squared_MM)
    gradient = np.r_[
        weights_G * np.tensordot(distances_GMM, by_squared_MM, axes=2),
        (slope_MM * kernel_MM).sum(),
        amplitude * linear * (slope_MM * linear_MM).sum(),
        noise * np.trace(slope_MM),
    ]
    return _Objective(value, gradient)


def _inverse(lower_MM: NDArray[np.floating[Any]]) -> FloatArray:
    """Returns the inverse of a lower triangular matrix. NumPy only has the general inverse, at three times the cost."""
    lower = torch.from_numpy(lower_MM)
    identity = torch.eye(len(lower_MM), dtype=torch.float64)
    return np.asarray(torch.linalg.solve_triangular(lower, identity, upper=False).numpy(), dtype=np.float64)


def matern(squared: NDArray[Precision]) -> NDArray[Precision]:
    """Returns the Matern 5/2 kernel of squared distances."""
    # In place: this is half of a prediction's time.
    root: NDArray[Precision] = np.sqrt(5.0 * squared)
    value: NDArray[Precision] = root * root
    value *= 1.0 / 3.0
    value += root
    value += 1.0
    np.negative(root, out=root)
    value *= np.exp(root, out=root)
    return value


def _matern_slope(squared: FloatArray) -> FloatArray:
    """Returns the derivative of the kernel by the squared distance."""
    root = np.sqrt(5.0 * squared)
    return np.asarray(-(5.0 / 6.0) * (1.0 + root) * np.exp(-root), dtype=np.float64)


def squared_distances(left_AF: NDArray[Precision], right_BF: NDArray[Precision]) -> NDArray[Precision]:
    """Returns the squared Euclidean distances, `[A, B]`."""
    # One matrix product: [-2 left, left squared, 1] by [right, 1, right squared].
    ones_A1, ones_B1 = np.ones_like(left_AF[:, :1]), np.ones_like(right_BF[:, :1])
    squares_A1 = np.square(left_AF).sum(axis=1, keepdims=True)
    squares_B1 = np.square(right_BF).sum(axis=1, keepdims=True)
    distances_AB: NDArray[Precision] = (
        np.hstack([-2.0 * left_AF, squares_A1, ones_A1]) @ np.hstack([right_BF, ones_B1, squares_B1]).T
    )
    np.maximum(distances_AB, 0.0, out=distances_AB)
    return distances_AB


def evenly(length: int, most: int) -> NDArray[np.intp]:
    """Returns at most `most` evenly spaced indices, including the first and the last."""
    if length <= most:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, most).round().astype(np.intp))
