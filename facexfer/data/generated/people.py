"""Who a generated person is: what stays the same from picture to picture."""

from dataclasses import dataclass

import numpy as np

# Reflectances in red, green, blue and near infrared (about 850 nm), 0..1. Melanin and the pigments of dyes hardly
# absorb in the near infrared: skins of all tones come close together there, and dark hair is bright if it is dyed.
_SKIN_LIGHT, _SKIN_DARK = np.array([0.80, 0.56, 0.44, 0.72]), np.array([0.25, 0.135, 0.08, 0.58])
_HAIR = {
    "black": (0.05, 0.045, 0.05, 0.12),
    "dyed black": (0.045, 0.035, 0.04, 0.55),
    "brown": (0.20, 0.12, 0.07, 0.30),
    "auburn": (0.36, 0.15, 0.07, 0.42),
    "dyed red": (0.48, 0.09, 0.10, 0.62),
    "blond": (0.72, 0.55, 0.32, 0.66),
    "grey": (0.55, 0.55, 0.56, 0.60),
}
# In the near infrared an iris is dark whatever its colour.
_IRIS = {
    "brown": (0.20, 0.10, 0.04, 0.24),
    "hazel": (0.38, 0.27, 0.10, 0.25),
    "green": (0.28, 0.40, 0.24, 0.25),
    "blue": (0.26, 0.42, 0.62, 0.26),
    "grey": (0.45, 0.50, 0.53, 0.26),
}
HAIR_STYLES = ("short", "long", "fringe", "receding", "bald")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")


@dataclass(frozen=True)
class Person:
    """A generated person; lengths are in pixels of the aligned 112x112 crop, x from the middle, y downwards.

    Attributes:
        face_width: Half of the width at the cheekbones.
        chin: Where the face ends.
        jaw: Exponent of the lower outline: 2 is pointed, 4 is square.
        eye_distance: Half of the distance of the eyes.
        eye_height: Where the eyes are.
        eye_width: Half of an eye's width.
        eye_opening: Half of an open eye's height.
        eye_tilt: Rise of the outer corner per pixel.
        lid: Depth of the fold above the eye, 0..1.
        iris_radius: Of the iris.
        iris: Its reflectances.
        brow_gap: From eye to brow.
        brow_thickness: Half of the brow's height.
        brow_arch: How much its middle is raised.
        brow_slope: Fall of the outer end per pixel.
        brow_density: Opacity, 0..1.
        nose_tip: Where the tip is.
        nose_width: Half of the width at the wings.
        nose_bridge: Width of the ridge.
        nose_height: How far the tip stands out.
        mouth_height: Where the lips meet.
        mouth_width: Half of the mouth's width.
        upper_lip: Thickness.
        lower_lip: Thickness.
        bow: Depth of the notch in the upper lip.
        lip_red: How much redder than skin the lips are, 0..1.
        cheek: How full the cheeks are.
        age: Depth of folds, 0..1.
        skin: Its reflectances.
        redness: Of cheeks and nose.
        freckles: Their strength, 0..1.
        texture: Place in the texture, so that everybody's freckles and strands lie elsewhere.
        moles: (M, 4) of x, y, radius and darkness.
        hair_style: One of `HAIR_STYLES`.
        hair: Its reflectances.
        hairline: Height of its middle.
        hair_volume: How far it stands out.
        hair_part: Side and strength of the parting, -1..1.
        curls: 0 straight, 1 curly.
        beard: One of `BEARDS`.
        ears: How far they stand out.
        glasses: Share of pictures with glasses.
        frame: Their width, height, roundness and thickness.
        frame_colour: Their reflectances.
    """

    face_width: float
    chin: float
    jaw: float
    eye_distance: float
    eye_height: float
    eye_width: float
    eye_opening: float
    eye_tilt: float
    lid: float
    iris_radius: float
    iris: np.ndarray
    brow_gap: float
    brow_thickness: float
    brow_arch: float
    brow_slope: float
    brow_density: float
    nose_tip: float
    nose_width: float
    nose_bridge: float
    nose_height: float
    mouth_height: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    bow: float
    lip_red: float
    cheek: float
    age: float
    skin: np.ndarray
    redness: float
    freckles: float
    texture: tuple[int, int]
    moles: np.ndarray
    hair_style: str
    hair: np.ndarray
    hairline: float
    hair_volume: float
    hair_part: float
    curls: float
    beard: str
    ears: float
    glasses: float
    frame: tuple[float, float, float, float]
    frame_colour: np.ndarray


def draw_person(generator: np.random.Generator) -> Person:
    """Draw a person at random.

    Args:
        generator: The same state gives the same person.

    Returns:
        The person.
    """
    uniform = generator.uniform
    bearded = uniform() < 0.5
    style = str(generator.choice(HAIR_STYLES, p=(0.4, 0.25, 0.17, 0.12, 0.06)))
    if bearded and style == "long" and uniform() < 0.8:
        style = "short"
    skin = _mix(_SKIN_LIGHT, _SKIN_DARK, uniform() ** 1.3)
    dark = skin[0] < 0.6
    tones = ("black", "dyed black", "brown") if dark else tuple(_HAIR)
    eyes = ("brown", "hazel") if dark else tuple(_IRIS)
    grey = uniform(0.0, 0.9)
    wears = uniform()
    return Person(
        face_width=uniform(36, 44),
        chin=uniform(106, 116),
        jaw=uniform(2.0, 4.2),
        eye_distance=uniform(16.2, 19.2),
        eye_height=uniform(50, 53.5),
        eye_width=uniform(5.8, 8.2),
        eye_opening=uniform(2.3, 4.2),
        eye_tilt=uniform(-0.14, 0.22),
        lid=uniform(),
        iris_radius=uniform(2.9, 3.7),
        iris=np.array(_IRIS[str(generator.choice(eyes))]) * uniform(0.8, 1.2),
        brow_gap=uniform(7.5, 12.5),
        brow_thickness=uniform(0.9, 2.6),
        brow_arch=uniform(0, 3.5),
        brow_slope=uniform(-0.12, 0.25),
        brow_density=uniform(0.45, 0.95),
        nose_tip=uniform(68, 75.5),
        nose_width=uniform(6, 10.5),
        nose_bridge=uniform(2.6, 5.0),
        nose_height=uniform(8, 15),
        mouth_height=uniform(89, 95),
        mouth_width=uniform(10.5, 16.5),
        upper_lip=uniform(1.4, 4.2),
        lower_lip=uniform(2.0, 5.4),
        bow=uniform(0.1, 1.6),
        lip_red=uniform(0.25, 1.0),
        cheek=uniform(0, 4),
        age=uniform() ** 1.5,
        skin=skin,
        redness=uniform(0, 0.3),
        freckles=max(0.0, uniform(-1, 1)),
        texture=(int(generator.integers(256)), int(generator.integers(256))),
        moles=_draw_moles(generator),
        hair_style=style,
        hair=np.array(_HAIR[str(generator.choice(tones))]) * uniform(0.75, 1.3),
        hairline=uniform(5, 18),
        hair_volume=uniform(2, 11),
        hair_part=uniform(-1, 1),
        curls=uniform() if uniform() < 0.5 else 0.0,
        beard=str(generator.choice(BEARDS[1:])) if bearded else "none",
        ears=uniform(1, 6),
        glasses=0.9 if wears < 0.2 else 0.5 if wears < 0.35 else 0.04,
        frame=(uniform(11, 14.5), uniform(7, 11), uniform(2, 6), uniform(0.6, 1.4)),
        frame_colour=np.array([grey, grey * uniform(0.5, 1), grey * uniform(0.3, 1), uniform(0.05, 0.6)]),
    )


def _draw_moles(generator: np.random.Generator) -> np.ndarray:
    count = int(generator.integers(0, 5))
    return np.stack(
        [
            generator.uniform(-32, 32, count),
            generator.uniform(25, 104, count),
            generator.uniform(0.7, 1.7, count),
            generator.uniform(0.4, 0.9, count),
        ],
        axis=1,
    )


def _mix(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """Mix as pigments do: in logarithms."""
    return np.asarray(np.exp((1 - share) * np.log(first) + share * np.log(second)))
