"""A picture of the screen as a file in the current directory, as SVG and where possible as PNG. Touches the disk."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

FAMILIES: Final = ("DejaVu Sans Mono", "Menlo", "Cascadia Mono", "Consolas", "Liberation Mono", "Noto Sans Mono",
                   "Ubuntu Mono", "FreeMono", "Courier New")
"""Fonts of one width that computers come with, the best for curves of braille dots first."""
FOLDERS: Final = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts",
                  "/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts")


def save(svg: str, name: str, step: int, folder: Path) -> tuple[Path, ...]:
    """Write NAME-step-STEP.svg, or with a number behind it: nothing is overwritten. OSError as it comes.

    And a PNG beside it, where one can be drawn: that needs the extra `png` and a font of one width.
    """
    stem = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('.-') or 'run'}-step-{step}"
    for i in range(1, 1000):
        path = folder / (f"{stem}.svg" if i == 1 else f"{stem}-{i}.svg")
        beside = path.with_suffix(".png")
        if os.path.lexists(beside):
            continue
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(svg)
        except FileExistsError:
            continue
        drawn = png(svg)
        if drawn is None:
            return (path,)
        with open(beside, "xb") as file:   # nothing is overwritten, nor written through a link
            file.write(drawn)
        return path, beside
    raise FileExistsError(17, "a thousand pictures of this step are enough")


def png(svg: str) -> bytes | None:
    """The picture in dots; None where nothing can draw it. The web font that the SVG asks for gives way to one here."""
    try:
        import resvg_py
    except ImportError:
        return None
    if not any(_fonts(Path(folder).expanduser()) for folder in FOLDERS):
        return None   # it would be a picture without words
    plain = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    families = ", ".join(f"'{family}'" for family in FAMILIES)
    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=plain.replace("Fira Code", families)))
    except (ValueError, RuntimeError):
        return None   # the SVG is there in any case


def _fonts(folder: Path) -> bool:
    """Whether there is a font of one width."""
    try:
        files = folder.rglob("*.[to]t[fc]")
        return any(re.search("mono|menlo|consola|cour", file.name, re.IGNORECASE) for file in files)
    except OSError:
        return False
