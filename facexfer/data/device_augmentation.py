"""The training augmentation of whole batches on any device, with the distributions of the presets of `augmentation`.

Workers augment crops one by one on the CPU, which takes longer than a GPU's step. Here a batch of bytes is augmented
where the network is. Everything is drawn there from (seed, step), so that a resumed run sees the same batches. The two
ways draw from the same distributions, not the same numbers.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from facexfer.data import nir_simulation
from facexfer.registry import Registry

Change = Callable[[Tensor, "Draws"], Tensor]
DEVICE_PRESETS: Registry[tuple[Change, ...]] = Registry("augmentation on the device")
"""Preset name -> changes of float images (N, 3, H, W) in 0..255, one after the other."""
_CR_WEIGHT, _CB_WEIGHT = 0.713, 0.564


class Draws:
    """The random numbers of one batch.

    Args:
        seed: The run's seed.
        step: The batch's.
        images: How many there are.
        device: Where they are.

    Attributes:
        device: Where the images are.
        mirrored: (N,) bool, the images that `flip` has mirrored so far.
    """

    def __init__(self, seed: int, step: int, images: int, device: torch.device) -> None:
        # Nothing is drawn on the host: the device would wait for it.
        mixed = (seed * 1_000_003 + step + 1) % 2**63
        self._generator = torch.Generator(device).manual_seed(mixed)
        self._shape = (images, 1, 1, 1)
        self.device = device
        self.mirrored = torch.zeros(images, dtype=torch.bool, device=device)

    def uniform(self, low: float, high: float) -> Tensor:
        """Draw one value per image, (N, 1, 1, 1)."""
        return low + (high - low) * torch.rand(self._shape, generator=self._generator, device=self.device)

    def integers(self, low: int, high: int) -> Tensor:
        """Draw a whole number from low to high an image, (N, 1, 1, 1) float."""
        return torch.randint(low, high + 1, self._shape, generator=self._generator, device=self.device).float()

    def often(self, share: float) -> Tensor:
        """Choose each image with a probability, (N, 1, 1, 1) bool."""
        return torch.rand(self._shape, generator=self._generator, device=self.device) < share

    def noise(self, *shape: int) -> Tensor:
        """Draw standard normal noise."""
        return torch.randn(*shape, generator=self._generator, device=self.device)


def augment(images: Tensor, preset: str, seed: int, step: int) -> Tensor:
    """Augment a batch.

    Args:
        images: (N, 3, H, W) uint8 RGB on any device.
        preset: One of `DEVICE_PRESETS`.
        seed: The run's seed.
        step: Of the batch; the same seed and step give the same result on one kind of device.

    Returns:
        (N, 3, H, W) uint8 RGB there.

    Raises:
        InputError: If the preset is unknown.
    """
    return augment_and_tell(images, preset, seed, step)[0]


def augment_and_tell(images: Tensor, preset: str, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Augment a batch as `augment` does, and tell which images are mirrored, (N,) bool."""
    draws = Draws(seed, step, len(images), images.device)
    changes = DEVICE_PRESETS[preset]
    if not changes:
        return images, draws.mirrored
    result = images.float()
    for change in changes:
        result = change(result, draws)
    return result.round_().clamp_(0, 255).to(torch.uint8), draws.mirrored


def flip(images: Tensor, draws: Draws) -> Tensor:
    """Mirror every other image."""
    chosen = draws.often(0.5)
    draws.mirrored = draws.mirrored ^ chosen.flatten()
    return torch.where(chosen, images.flip(3), images)


def brightness_contrast(limit: float, p: float) -> Change:
    """Make ``contrast * image + 255 * brightness``, each drawn within +-limit of leaving all as it is."""

    def change(images: Tensor, draws: Draws) -> Tensor:
        contrast, brightness = 1 + draws.uniform(-limit, limit), draws.uniform(-limit, limit)
        changed = (images * contrast + 255 * brightness).clamp(0, 255).round()
        return torch.where(draws.often(p), changed, images)

    return change


def gamma(low: float, high: float, p: float) -> Change:
    """Raise the image, 0..1, to a power."""

    def change(images: Tensor, draws: Draws) -> Tensor:
        changed = (255 * (images / 255) ** draws.uniform(low, high)).round()
        return torch.where(draws.often(p), changed, images)

    return change


def blur(low: float, high: float, p: float) -> Change:
    """Blur by a Gaussian kernel of 3 or 5 pixels with a standard deviation in pixels."""

    def change(images: Tensor, draws: Draws) -> Tensor:
        radius, sigma = draws.integers(1, 2), draws.uniform(low, high)
        return torch.where(draws.often(p), _blurred(images, sigma, 2, radius).round(), images)

    return change


def noise(low: float, high: float, p: float, per_channel: bool) -> Change:
    """Add normal noise; the standard deviation is a part of 255. All channels can share it, as on a grey sensor."""

    def change(images: Tensor, draws: Draws) -> Tensor:
        count, channels, height, width = images.shape
        sigma = 255 * draws.uniform(low, high)
        added = sigma * draws.noise(count, channels if per_channel else 1, height, width)
        return torch.where(draws.often(p), (images + added).clamp(0, 255).round(), images)

    return change


def affine(scale: float, shift: float, degrees: float, p: float) -> Change:
    """Scale each axis, shift and rotate about the centre, each within +- its limit; outside is black."""

    def change(images: Tensor, draws: Draws) -> Tensor:
        height, width = images.shape[2:]
        angle = draws.uniform(-degrees, degrees).flatten() * (math.pi / 180)
        scales = [1 + draws.uniform(-scale, scale).flatten() for _ in range(2)]
        shifts = [2 * draws.uniform(-shift, shift).flatten() for _ in range(2)]
        cosine, sine = angle.cos(), angle.sin()
        ratio = height / width
        # From a result's pixel back to the image's: shift, rotate and scale undone.
        matrix = torch.stack(
            [
                torch.stack([cosine / scales[0], sine * ratio / scales[0]], dim=1),
                torch.stack([-sine / ratio / scales[1], cosine / scales[1]], dim=1),
            ],
            dim=1,
        )
        moved = -(matrix @ torch.stack(shifts, dim=1)[:, :, None])
        grid = F.affine_grid(torch.cat([matrix, moved], dim=2), list(images.shape), align_corners=False)
        changed = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False).round()
        return torch.where(draws.often(p), changed, images)

    return change


def hidden_patch(low: float, high: float, p: float) -> Change:
    """Blacken one rectangle whose sides are parts of the image's."""

    def change(images: Tensor, draws: Draws) -> Tensor:
        inside = draws.often(p)
        for dim, side in ((2, images.shape[2]), (3, images.shape[3])):
            size = (draws.uniform(low, high) * side).floor()
            start = (draws.uniform(0, 1) * (side - size + 1)).floor()
            place = torch.arange(side, device=images.device).view([-1 if each == dim else 1 for each in range(4)])
            inside = inside & (place >= start) & (place < start + size)
        return images.masked_fill(inside, 0.0)

    return change


def simulate_nir(p: float) -> Change:
    """Make visible-light photos look near-infrared, as `nir_simulation.SimulateNIR` with its own ranges."""

    def change(images: Tensor, draws: Draws) -> Tensor:
        full_well, display = nir_simulation._FULL_WELL, nir_simulation._GAMMA
        red = draws.uniform(0.55, 0.9)
        lift, softness = draws.uniform(0.2, 0.8), draws.uniform(0.3, 1.2)
        strength = draws.uniform(0.1, 0.6)
        centre = draws.uniform(0.35, 0.65), draws.uniform(0.35, 0.65)
        focus, exposure = draws.uniform(0.0, 0.8), draws.uniform(0.6, 1.4)
        gain, read_noise, bits = draws.uniform(1.0, 16.0), draws.uniform(2.0, 12.0), draws.integers(6, 8)
        light = (images / 255) ** display
        weights = torch.cat([red, (1 - red) * 2 / 3, (1 - red) / 3], dim=1)
        band = (light * weights).sum(dim=1, keepdim=True)
        soft = _blurred(band, softness, 5)
        lifted = soft + lift * soft * (1 - soft)
        band = band + _skin(images) * (lifted - band)
        height, width = band.shape[2:]
        x = (torch.arange(width, device=band.device) + 0.5).view(1, 1, 1, -1) / width - centre[0]
        y = (torch.arange(height, device=band.device) + 0.5).view(1, 1, -1, 1) / height - centre[1]
        band = band / (1 + strength / (1 - strength) * (x**2 + y**2) / 0.25)
        band = _blurred(band, focus, 4) * exposure
        electrons = full_well / gain
        expected = band.clamp(0, 1) * electrons
        band = (expected + (expected + read_noise**2).sqrt() * draws.noise(*band.shape)) / electrons
        highest = 2**bits - 1
        grey = ((band.clamp(0, 1) ** (1 / display) * highest).round() * (255 / highest)).round()
        return torch.where(draws.often(p), grey.expand_as(images), images)

    return change


def _skin(images: Tensor) -> Tensor:
    """Detect skin by its colour, as `nir_simulation.skin_likelihood`: (N, 1, H, W), 0..1."""
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = [((red - luma) * _CR_WEIGHT + 128).round(), ((blue - luma) * _CB_WEIGHT + 128).round()]
    middles = nir_simulation._SKIN_CR, nir_simulation._SKIN_CB
    distance = sum(
        ((each - middle) / nir_simulation._SKIN_WIDTH) ** 2 for each, middle in zip(chroma, middles, strict=True)
    )
    near = torch.exp(-0.5 * torch.as_tensor(distance))
    is_grey = images.amax(dim=1, keepdim=True) == images.amin(dim=1, keepdim=True)
    return _blurred(near.masked_fill(is_grey, 0.0), torch.full((len(images), 1, 1, 1), 2.0, device=images.device), 8)


def _blurred(images: Tensor, sigma: Tensor, reach: int, radius: Tensor | None = None) -> Tensor:
    """Blur each image by its own Gaussian; a standard deviation of 0.05 pixels or less leaves it.

    Args:
        images: (N, C, H, W).
        sigma: (N, 1, 1, 1) in pixels.
        reach: Pixels that the widest kernel reaches to each side.
        radius: (N, 1, 1, 1) what each reaches, at most; None for all of `reach`.
    """
    count, channels, height, width = images.shape
    offset = torch.arange(-reach, reach + 1, device=images.device).view(1, 1, 1, -1)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp(min=0.05)) ** 2)
    if radius is not None:
        kernel = kernel.masked_fill(offset.abs() > radius, 0.0)
    kernel = (kernel / kernel.sum(dim=3, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = F.pad(images.reshape(1, count * channels, height, width), [reach] * 4, mode="reflect")
    across = F.conv2d(flat, kernel, groups=count * channels)
    return F.conv2d(across, kernel.transpose(2, 3), groups=count * channels).view_as(images)


DEVICE_PRESETS.add("none", ())
DEVICE_PRESETS.add("flip", (flip,))
DEVICE_PRESETS.add(
    "nir",
    (
        flip,
        brightness_contrast(0.2, p=0.5),
        gamma(0.8, 1.2, p=0.3),
        blur(0.2, 1.0, p=0.1),
        noise(0.005, 0.02, p=0.2, per_channel=True),
    ),
)
DEVICE_PRESETS.add(
    "nir-strong",
    (
        flip,
        affine(0.05, 0.02, 5.0, p=0.5),
        brightness_contrast(0.35, p=0.7),
        gamma(0.6, 1.6, p=0.5),
        blur(0.2, 1.5, p=0.2),
        noise(0.01, 0.05, p=0.3, per_channel=False),
        hidden_patch(0.1, 0.3, p=0.2),
    ),
)
DEVICE_PRESETS.add("vis-to-nir", (flip, simulate_nir(p=1.0)))
DEVICE_PRESETS.add("vis-and-nir", (flip, simulate_nir(p=0.5)))
