"""Take the README's picture anew: run the demo in a terminal of 120x40, press ctrl+s when it explodes, draw a PNG.

    pip install -e . resvg_py pyte                      # and the font DejaVu Sans Mono (fonts-dejavu-core)
    python demos/picture.py demos/exploding.png
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "program"))

from pty_terminal import Terminal

FONT = "DejaVu Sans Mono"
WIDTH = 1220


def exploding(folder: Path) -> Path:
    """The SVG that the program saves while the verdict is critical, before anybody has done anything."""
    argv = [sys.executable, "-m", "tuimon", "demo", "exploding", "--speed", "20"]
    here = str(Path(__file__).resolve().parent.parent)
    with Terminal(argv, 120, 40, {"TUIMON_RUNS": str(folder / "runs"), "PYTHONPATH": here}, folder) as terminal:
        terminal.wait_for("✖ Exploding gradients", 120)
        step = int(re.search(r"step (\d+)", terminal.text).group(1))
        terminal.wait_for(lambda text: int(re.search(r"step (\d+)", text).group(1)) >= step + 25)
        terminal.press("\x13")
        terminal.wait_for("saved as")
        terminal.press("q")
        terminal.wait_for("Leave this run?")
        terminal.press("e")
        terminal.wait_for_exit()
    return next(folder.glob("*.svg"))


def png(svg: str) -> bytes:
    """The picture in cells of one width: the web font that the SVG asks for is replaced by one that is here."""
    import resvg_py

    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", FONT)
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=WIDTH))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        Path(sys.argv[1]).write_bytes(png(exploding(Path(folder)).read_text(encoding="utf-8")))
