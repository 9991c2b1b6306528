"""Colours as numbers: mixing, contrast, the nearest of 256. Pure.

Mixing happens in OKLab (Ottosson 2020, "A perceptual color space for image processing"), where halfway between two
colours looks halfway; contrast is that of WCAG 2.1, section 1.4.3.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

Triple = tuple[float, float, float]

_STEPS: Final = (0, 95, 135, 175, 215, 255)
"""Levels of the 6x6x6 cube, which is 16 to 231 of the 256 colours; greys follow."""


def parse(rgb: str) -> Triple:
    """"#rrggbb" as red, green, blue in 0..1."""
    return int(rgb[1:3], 16) / 255, int(rgb[3:5], 16) / 255, int(rgb[5:7], 16) / 255


def write(colour: Triple) -> str:
    """Red, green, blue in 0..1 as "#rrggbb"; what lies outside is cut off."""
    return "#" + "".join(f"{round(255 * min(1.0, max(0.0, part))):02x}" for part in colour)


def _linear(part: float) -> float:
    return float(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)


def _gamma(part: float) -> float:
    return float(12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055)


@lru_cache(4096)
def oklab(rgb: str) -> Triple:
    """Lightness 0..1, green to red, blue to yellow."""
    r, g, b = (_linear(part) for part in parse(rgb))
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
            1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
            0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short)


def _unmapped(lab: Triple) -> Triple:
    light, a, b = lab
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short)


def of_oklab(lab: Triple) -> str:
    """The colour; one that no screen can show is made greyer until one can: its lightness stays."""
    light, a, b = lab
    for i in range(17):
        keep = 1 - i / 16
        found = _unmapped((light, keep * a, keep * b))
        if all(-1e-3 <= part <= 1.001 for part in found):
            break
    return write((_gamma(max(0.0, found[0])), _gamma(max(0.0, found[1])), _gamma(max(0.0, found[2]))))


def mix(a: str, b: str, part: float) -> str:
    """`part` (0..1) of `b`, the rest of `a`."""
    one, other = oklab(a), oklab(b)
    return of_oklab((one[0] + part * (other[0] - one[0]), one[1] + part * (other[1] - one[1]),
                     one[2] + part * (other[2] - one[2])))


def at_lightness(rgb: str, light: float) -> str:
    """The same hue, as light as that (0..1)."""
    _, a, b = oklab(rgb)
    return of_oklab((light, a, b))


def distance(a: str, b: str) -> float:
    """How different two colours look: 0.02 is just seen side by side, 1 is black and white."""
    return float(sum((x - y) ** 2 for x, y in zip(oklab(a), oklab(b), strict=True)) ** 0.5)


def luminance(rgb: str) -> float:
    """WCAG's relative luminance, 0..1."""
    r, g, b = (_linear(part) for part in parse(rgb))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    """WCAG's ratio, 1..21."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def is_dark(rgb: str) -> bool:
    """Whether white is read better than black on it."""
    return contrast(rgb, "#ffffff") >= contrast(rgb, "#000000")


def readable(rgb: str, grounds: tuple[str, ...], ratio: float) -> str:
    """The colour, made lighter on dark grounds and darker on light ones until it stands out by `ratio` from each.

    Where even white or black does not, that.
    """
    away = 1 if is_dark(grounds[0]) else -1
    light, found = oklab(rgb)[0], rgb
    while min(contrast(found, ground) for ground in grounds) < ratio:
        light += 0.01 * away
        if not 0 < light < 1:
            return "#ffffff" if away > 0 else "#000000"
        found = at_lightness(rgb, light)
    return found


def of_256(index: int) -> str:
    """What an index from 16 to 255 looks like; terminals agree on these, and not on 0 to 15."""
    if index >= 232:
        grey = 8 + 10 * (index - 232)
        return f"#{grey:02x}{grey:02x}{grey:02x}"
    red, rest = divmod(index - 16, 36)
    green, blue = divmod(rest, 6)
    return f"#{_STEPS[red]:02x}{_STEPS[green]:02x}{_STEPS[blue]:02x}"


@lru_cache(1)
def _all_256() -> tuple[tuple[int, Triple], ...]:
    return tuple((i, oklab(of_256(i))) for i in range(16, 256))


@lru_cache(4096)
def nearest_256(rgb: str, besides: frozenset[int] = frozenset()) -> int:
    """The index from 16 to 255 that looks most like the colour, other than `besides`."""
    light, a, b = oklab(rgb)
    known = ((i, lab) for i, lab in _all_256() if i not in besides)
    return min(((x - light) ** 2 + (y - a) ** 2 + (z - b) ** 2, i) for i, (x, y, z) in known)[1]
