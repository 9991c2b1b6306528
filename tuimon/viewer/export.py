"""A picture of the screen as a file in the current directory. Touches the disk."""

from __future__ import annotations

import re
from pathlib import Path


def save(svg: str, name: str, step: int, folder: Path) -> Path:
    """Write `svg` as NAME-step-STEP.svg, or with a number behind it: nothing is overwritten. OSError as it comes."""
    stem = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('.-') or 'run'}-step-{step}"
    for i in range(1, 1000):
        path = folder / (f"{stem}.svg" if i == 1 else f"{stem}-{i}.svg")
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(svg)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(17, "a thousand pictures of this step are enough")
