"""Make visible-light photos look as a near-infrared camera might have seen them.

**What it is not.** Reflectance at 850 nm cannot be computed from three visible channels: what differs between people
only there (veins, make-up that is clear in NIR, dyed hair, tinted glasses) is not in the photo and does not appear. The
constants below are plausible, not fitted to a sensor. A network that is good on simulated photos is not known to be
good on real ones: measure on real ones before you rely on it.
"""

import math
from collections.abc import Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np

from facexfer.errors import InputError

_GAMMA = 2.2
_FULL_WELL = 8000.0
# No noise to be seen, where 0 would need infinitely many electrons.
_LEAST_GAIN = 1e-6
_RED_OF_LUMA = 0.299
_SKIN_CR, _SKIN_CB, _SKIN_WIDTH = 152.0, 108.0, 12.0


def mix_spectrum(light: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Mix colour into one band.

    Reading: an NIR band (about 780 to 1000 nm) lies beyond red, and reflectance changes slowly with wavelength, so that
    red tells most about it and blue least.

    Args:
        light: (H, W, 3) linear light 0..1, RGB.
        weights: Of R, G and B; they are made to sum to 1.

    Returns:
        (H, W) linear light 0..1.

    Example:
        >>> mix_spectrum(np.array([[[1.0, 0.5, 0.0]]]), (3, 1, 0)).tolist()
        [[0.875]]
    """
    shares = np.asarray(weights, dtype=light.dtype)
    return np.asarray(light @ (shares / shares.sum()))


def lift_skin(band: np.ndarray, skin: np.ndarray, lift: float, softness: float) -> np.ndarray:
    """Brighten skin, and soften its detail.

    Reading: melanin and haemoglobin absorb little in NIR, so that skin of every tone reflects about half of the light
    or more; and the light travels through it for millimetres, which blurs pores, freckles and wrinkles.

    Args:
        band: (H, W) linear light 0..1.
        skin: (H, W) how much each pixel is skin, 0..1.
        lift: Part of the way to full reflectance, 0..1.
        softness: Standard deviation of the blur inside the skin, pixels; 0 leaves it.

    Returns:
        (H, W) linear light 0..1.
    """
    soft = _blurred(band, softness)
    lifted = soft + lift * soft * (1 - soft)
    return np.asarray(band + skin * (lifted - band))


def fall_off(band: np.ndarray, centre: tuple[float, float], strength: float) -> np.ndarray:
    """Darken what is far from the middle of the active light.

    Reading: NIR cameras bring their own light. It is a cone, and it weakens with the square of the distance: the face
    is bright, its borders and the background are dark.

    Args:
        band: (H, W) linear light 0..1.
        centre: (x, y) of the brightest place, as parts of width and height.
        strength: Loss at half an image's distance from the centre, 0..1.

    Returns:
        (H, W) linear light 0..1.
    """
    height, width = band.shape
    x = (np.arange(width, dtype=band.dtype) + 0.5) / width - centre[0]
    y = (np.arange(height, dtype=band.dtype) + 0.5) / height - centre[1]
    distance = (x[None, :] ** 2 + y[:, None] ** 2) / 0.25
    return np.asarray(band / (1 + strength / max(1 - strength, 1e-3) * distance))


def add_sensor_noise(band: np.ndarray, gain: float, read_noise: float, generator: np.random.Generator) -> np.ndarray:
    """Add the noise of counting photons, and of reading them out.

    Reading: silicon is a poor detector at 850 nm, and exposures are short to beat daylight: few electrons are counted
    (Poisson), and the amplifier adds its own noise (Gaussian). A higher gain counts fewer electrons for the same grey.

    Args:
        band: (H, W) linear light 0..1.
        gain: 1 uses a full well of 8,000 electrons for white, 10 uses 800.
        read_noise: Standard deviation, in electrons.
        generator: Of the noise.

    Returns:
        (H, W) linear light; it can leave 0..1.
    """
    electrons = _FULL_WELL / gain
    expected = np.clip(band, 0, 1) * electrons
    # So many electrons are counted that a normal distribution is as good as Poisson's, and much faster.
    spread = np.sqrt(expected + read_noise**2)
    noise = generator.standard_normal(band.shape, dtype=np.float32)
    return np.asarray((expected + spread * noise) / electrons)


def quantise(band: np.ndarray, bits: int) -> np.ndarray:
    """Encode with display gamma, in as many levels as the converter has.

    Reading: NIR cameras convert to 8, 10 or 12 bits, and an under-exposed image that is stretched uses fewer levels.

    Args:
        band: (H, W) linear light.
        bits: Levels are 2 ** bits, at most 8.

    Returns:
        (H, W) uint8.

    Example:
        >>> quantise(np.array([[0.0, 0.2, 1.0]]), 1).tolist()
        [[0, 0, 255]]
    """
    highest = 2**bits - 1
    encoded = np.clip(band, 0, 1) ** (1 / _GAMMA)
    return np.asarray(np.rint(np.rint(encoded * highest) * (255 / highest)).astype(np.uint8))


class SimulateNIR(A.ImageOnlyTransform):  # type: ignore[misc]
    """Make a visible-light RGB photo look near-infrared: mixing, skin, light, blur, exposure, noise, quantisation.

    Every range is one that a value is drawn from, evenly, for each image. See the module for what this is not.

    Args:
        red_range: Share of red in the band; green has two thirds of the rest, blue one third.
        lift_range: Of `lift_skin`. Grey photos tell no skin and are not lifted.
        softness_range: Of `lift_skin`, pixels.
        fall_off_range: Strength of `fall_off`.
        blur_range: Standard deviation of a Gaussian over all, pixels. Reading: lenses made for visible light focus NIR
            a little behind the sensor.
        exposure_range: Factor on linear light. Reading: automatic exposure with the light at one distance, the face at
            another.
        gain_range: Of `add_sensor_noise`.
        read_noise_range: Of `add_sensor_noise`, electrons.
        bits_range: Of `quantise`.
        p: How often it is applied, 0..1.
    """

    def __init__(
        self,
        red_range: tuple[float, float] = (0.55, 0.9),
        lift_range: tuple[float, float] = (0.2, 0.8),
        softness_range: tuple[float, float] = (0.3, 1.2),
        fall_off_range: tuple[float, float] = (0.1, 0.6),
        blur_range: tuple[float, float] = (0.0, 0.8),
        exposure_range: tuple[float, float] = (0.6, 1.4),
        gain_range: tuple[float, float] = (1.0, 16.0),
        read_noise_range: tuple[float, float] = (2.0, 12.0),
        bits_range: tuple[int, int] = (6, 8),
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        self.red_range = red_range
        self.lift_range = lift_range
        self.softness_range = softness_range
        self.fall_off_range = fall_off_range
        self.blur_range = blur_range
        self.exposure_range = exposure_range
        self.gain_range = gain_range
        self.read_noise_range = read_noise_range
        self.bits_range = bits_range

    @classmethod
    def of_strength(cls, factor: float) -> "SimulateNIR":
        """Make a simulation whose ranges are weaker or stronger than the default ones.

        Args:
            factor: Each range's distance from what leaves a grey photo as it is, times this; 1 gives the defaults, 0.5
                half of every effect, 2 twice of it as far as that is possible (a fall-off below 1, red alone), 0 none.

        Raises:
            InputError: If the factor is below 0 or not finite.

        Example:
            >>> SimulateNIR.of_strength(0.5).fall_off_range, SimulateNIR.of_strength(2).exposure_range
            ((0.05, 0.3), (0.2, 1.8))
        """
        if not 0 <= factor < math.inf:
            raise InputError(f"expected a strength of the NIR simulation from 0 up, got {factor}; 1 is the usual one")
        usual = cls()

        def scaled(effect: tuple[float, float], neutral: float = 0.0, highest: float = math.inf) -> tuple[float, float]:
            low, high = (round(min(neutral + factor * (bound - neutral), highest), 6) for bound in effect)
            return low, high

        least, most = scaled(usual.gain_range)

        fewest = max(1, round(8 - factor * (8 - usual.bits_range[0])))
        return cls(
            red_range=scaled(usual.red_range, _RED_OF_LUMA, 1.0),
            lift_range=scaled(usual.lift_range),
            softness_range=scaled(usual.softness_range),
            fall_off_range=scaled(usual.fall_off_range, highest=0.95),
            blur_range=scaled(usual.blur_range),
            exposure_range=scaled(usual.exposure_range, 1.0),
            gain_range=(max(least, _LEAST_GAIN), max(most, _LEAST_GAIN)),
            read_noise_range=scaled(usual.read_noise_range),
            bits_range=(fewest, 8),
        )

    def get_params(self) -> dict[str, Any]:
        """Draw one value from every range, and the seed of the noise."""
        draw = self.random_generator.uniform
        return {
            "red": draw(*self.red_range),
            "lift": draw(*self.lift_range),
            "softness": draw(*self.softness_range),
            "strength": draw(*self.fall_off_range),
            "centre": (draw(0.35, 0.65), draw(0.35, 0.65)),
            "blur": draw(*self.blur_range),
            "exposure": draw(*self.exposure_range),
            "gain": draw(*self.gain_range),
            "read_noise": draw(*self.read_noise_range),
            "bits": int(self.random_generator.integers(self.bits_range[0], self.bits_range[1] + 1)),
            "noise_seed": int(self.random_generator.integers(2**32)),
        }

    def apply(
        self,
        img: np.ndarray,
        *,
        red: float,
        lift: float,
        softness: float,
        strength: float,
        centre: tuple[float, float],
        blur: float,
        exposure: float,
        gain: float,
        read_noise: float,
        bits: int,
        noise_seed: int,
        **params: Any,
    ) -> np.ndarray:
        """Apply all steps to (H, W, 3) uint8 RGB; the result has three equal channels."""
        light = _LINEAR[img]
        band = mix_spectrum(light, (red, (1 - red) * 2 / 3, (1 - red) / 3))
        band = lift_skin(band, skin_likelihood(img), lift, softness)
        band = _blurred(fall_off(band, centre, strength), blur) * np.float32(exposure)
        band = add_sensor_noise(band, gain, read_noise, np.random.default_rng(noise_seed))
        return np.repeat(quantise(band, bits)[:, :, None], 3, axis=2)


def skin_likelihood(image: np.ndarray) -> np.ndarray:
    """Detect skin by its colour: near one hue of chroma, whatever its tone.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) float32, 0..1; 0 on a grey image.
    """
    red, blue = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))[1:]
    near = np.exp(_OFF_SKIN_CR[red] + _OFF_SKIN_CB[blue])
    is_grey = (image[:, :, 0] == image[:, :, 1]) & (image[:, :, 1] == image[:, :, 2])
    near[is_grey] = 0
    return np.asarray(_blurred(near, 2.0))


def _blurred(band: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(band, (0, 0), sigma)) if sigma > 0.05 else band


_LINEAR = ((np.arange(256, dtype=np.float32) / 255) ** _GAMMA).astype(np.float32)
# The exponent of a normal density by each of the two chroma values, so that a photo is looked up and not computed.
_OFF_SKIN_CR, _OFF_SKIN_CB = (
    (-0.5 * ((np.arange(256) - centre) / _SKIN_WIDTH) ** 2).astype(np.float32) for centre in (_SKIN_CR, _SKIN_CB)
)
