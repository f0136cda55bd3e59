"""A saturating power law of people and images per person, and what more of either is predicted to bring."""

import math
from dataclasses import dataclass

import numpy as np

from facexfer.errors import InputError

_MOST_EXPONENT = 3.0


@dataclass(frozen=True)
class PowerLaw:
    """``error = floor + scale * people^-by_people * images^-by_images``.

    The form of learning curves in Hestness et al. (arXiv:1712.00409), with a factor for images per person.

    Attributes:
        floor: The error that no amount of such data falls below, a fraction.
        scale: Of the part that more data removes.
        by_people: Exponent of the number of people; 0 without effect.
        by_images: Exponent of the images per person; 0 where they were not varied.
    """

    floor: float
    scale: float
    by_people: float
    by_images: float

    def error(self, people: float, images: float) -> float:
        """The predicted error.

        Example:
            >>> PowerLaw(0.05, 1.0, 0.5, 0.0).error(100, 6)
            0.15000000000000002
        """
        return self.floor + self._removable(people, images)

    def gain_of_people(self, people: float, images: float) -> float:
        """By how much the error falls when there are twice as many people."""
        return self._removable(people, images) * (1 - 2**-self.by_people)

    def gain_of_images(self, people: float, images: float) -> float:
        """By how much the error falls when there are twice as many images of each."""
        return self._removable(people, images) * (1 - 2**-self.by_images)

    def people_until(self, gain: float, images: float) -> float:
        """The number of people from which on doubling them gains less than ``gain``; infinite if beyond any count."""
        at_one = self.gain_of_people(1, images)
        if at_one <= gain:
            return 1.0
        logarithm = math.log(at_one / gain) / self.by_people
        return math.exp(logarithm) if logarithm < 50 else math.inf

    def _removable(self, people: float, images: float) -> float:
        return self.scale * math.pow(people, -self.by_people) * math.pow(images, -self.by_images)


def check_sizes(people: np.ndarray, images: np.ndarray) -> int:
    """Check that runs of these sizes can tell noise from the law.

    Args:
        people: (R,) of each run.
        images: (R,) images per person; all equal, they are no parameter.

    Returns:
        The law's parameters.

    Raises:
        InputError: If there are too few runs, or fewer than three different numbers of people.
    """
    parameters = 3 + (len(np.unique(images)) > 1)
    if len(people) <= parameters:
        raise InputError(
            f"expected more than {parameters} finished runs for a law with {parameters} parameters, got {len(people)}; "
            "add draws or fractions"
        )
    _check_people(people)
    return parameters


def fit_power_law(
    people: np.ndarray, images: np.ndarray, errors: np.ndarray, starts: tuple[float, ...] = (0.2, 0.5, 1.0)
) -> PowerLaw:
    """Fit the law by least squares.

    Args:
        people: (R,) of each run, at least three different numbers.
        images: (R,) images per person; all equal, their exponent is 0.
        errors: (R,) measured, fractions.
        starts: Exponents from which the search begins; the best end is taken.

    Returns:
        The law.

    Raises:
        InputError: If there are fewer than three different numbers of people.
    """
    from scipy import optimize

    people, images, errors = (np.asarray(each, dtype=np.float64) for each in (people, images, errors))
    _check_people(people)
    varied = len(np.unique(images)) > 1
    # Around the means, so that scale and exponents are not one valley.
    middle = float(np.exp(np.log(people).mean())), float(np.exp(np.log(images).mean()))

    def residuals(values: np.ndarray) -> np.ndarray:
        floor, scale, by_people, by_images = values
        of_images = (images / middle[1]) ** -by_images if varied else 1.0
        found: np.ndarray = floor + scale * (people / middle[0]) ** -by_people * of_images - errors
        return found

    bounds = ([0, 0, 0, 0], [1, 1, _MOST_EXPONENT, _MOST_EXPONENT])
    half = float(np.clip(errors.mean() / 2, 1e-6, 0.5))
    fits = [optimize.least_squares(residuals, (half, half, start, start), bounds=bounds) for start in starts]
    floor, scale, by_people, by_images = map(float, min(fits, key=lambda fit: fit.cost).x)
    if not varied:
        by_images = 0.0
    return PowerLaw(floor, scale * middle[0] ** by_people * middle[1] ** by_images, by_people, by_images)


def bootstrap_laws(people: np.ndarray, images: np.ndarray, errors: np.ndarray, draws: int, seed: int) -> list[PowerLaw]:
    """Refit the law to the fitted errors with the runs' residuals, drawn with replacement.

    Residuals, not runs, are drawn: a draw of few runs would often lack a size. They are widened for the fitted
    parameters.

    Args:
        people: As for `fit_power_law`.
        images: Likewise.
        errors: Likewise; more runs than the law has parameters (3, or 4 where images vary).
        draws: How many laws.
        seed: Of the draws.

    Returns:
        The laws.

    Raises:
        InputError: If there are too few runs to tell noise from the law.
    """
    parameters = check_sizes(people, images)
    law = fit_power_law(people, images, errors)
    fitted = np.array([law.error(*size) for size in zip(people, images, strict=True)])
    residuals = (np.asarray(errors) - fitted) * math.sqrt(len(errors) / (len(errors) - parameters))
    start = (max(law.by_people, 0.05),)
    generator = np.random.default_rng(seed)
    return [
        fit_power_law(people, images, np.clip(fitted + generator.choice(residuals, len(errors)), 0, 1), start)
        for _ in range(draws)
    ]


def _check_people(people: np.ndarray) -> None:
    sizes = len(np.unique(people))
    if sizes < 3:
        raise InputError(f"expected runs with at least 3 different numbers of people, got {sizes}; add fractions")
