"""The themes by name: what there is to choose from, at no cost; each palette is made when it is first asked for.

Names and colours of well-known schemes are theirs: Solarized (E. Schoonover), Gruvbox (P. Pamisetty), Nord (Arctic Ice
Studio), Dracula (Z. Rocha), Catppuccin, Tokyo Night (enkia), Rosé Pine, Everforest (sainnhe).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tuimon.viewer.palettes.paint import Palette

THEMES: Final[Mapping[str, str]] = {
    "dark": "calm blue on near black",
    "light": "the same on warm white",
    "safe-dark": "for colour-blind eyes of every kind",
    "safe-light": "the same on white",
    "contrast-dark": "white on black, full colours",
    "contrast-light": "black on white, full colours",
    "mono": "greys, and one red for what is critical",
    "ansi": "the terminal's own sixteen colours",
    "ansi-light": "the same, for a light terminal",
    "solarized-dark": "Solarized on deep cyan",
    "solarized-light": "Solarized on cream",
    "gruvbox": "warm and retro, on dark grey",
    "gruvbox-light": "the same on parchment",
    "nord": "arctic blues on slate",
    "dracula": "pink, purple and cyan on violet grey",
    "mocha": "Catppuccin's pastels on deep indigo",
    "latte": "Catppuccin's colours on pale grey",
    "tokyo-night": "city lights on midnight blue",
    "rose-pine": "rose, gold and foam on dusk",
    "rose-dawn": "the same at dawn, on blush white",
    "everforest": "soft greens on forest grey",
    "ember": "glowing coals on brown black",
    "phosphor": "an old green screen",
}
"""Name -> what it is like, in the order in which they are offered."""
LIGHT_ONES: Final = frozenset(
    {"light", "safe-light", "contrast-light", "ansi-light", "solarized-light", "gruvbox-light", "latte", "rose-dawn"})


@lru_cache(None)
def _make(name: str) -> Palette:
    from tuimon.viewer.palettes import drawn
    from tuimon.viewer.palettes.grown import grow
    from tuimon.viewer.palettes.seeds import SEEDS

    by_hand = {palette.name: palette for palette in (drawn.DARK, drawn.LIGHT, drawn.ANSI, drawn.ANSI_LIGHT)}
    return by_hand[name] if name in by_hand else grow(name, SEEDS[name])


class _Palettes(Mapping[str, "Palette"]):
    """Name -> palette, made on demand and kept."""

    def __getitem__(self, name: str) -> Palette:
        if name not in THEMES:
            raise KeyError(name)
        return _make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(THEMES)

    def __len__(self) -> int:
        return len(THEMES)


PALETTES: Final[Mapping[str, Palette]] = _Palettes()
