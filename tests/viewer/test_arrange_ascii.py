"""A terminal that draws ASCII only gets a likeness of every sign that our own words use."""

from __future__ import annotations

import ast
from pathlib import Path

import tuimon
from tuimon.viewer.actions import ACTIONS
from tuimon.viewer.glyphs import BLOCK, ascii_of

ROOT = Path(tuimon.__file__).parent
WORDS = [path for place in ("viewer", "diagnosis") for path in sorted((ROOT / place).rglob("*.py"))]
OF_CHARTS = set("╭╮╰╯┤┫▀▁▂▃▄▅▆▇▌▐▖▗▘▙▚▛▜▝▞▟⠤┌┐┘├┬┴┼")
"""Parts of charts and frames: an ASCII glyph set has its own."""


def signs(path: Path) -> set[str]:
    """What is not ASCII in the strings of a file, docstrings apart."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return {sign for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            and id(node) not in docs for sign in node.value if not sign.isascii()}


def test_every_sign_of_our_own_words_has_a_likeness():
    lost = {(str(path.relative_to(ROOT)), sign) for path in WORDS for sign in signs(path) - OF_CHARTS - {"◌"}
            if "?" in ascii_of(sign)}   # what is awaited is a question
    assert not lost


def test_keys_and_glyphs_keep_their_width():
    for words in (*(action.shown for action in ACTIONS), *BLOCK.badges.values(), "◌●◆▲✖◐◼‖✓✝▸◂↺▪┊╎╌━─"):
        assert len(ascii_of(words)) == len(words)


def test_what_has_no_likeness_is_a_question_mark_and_plain_words_stay():
    assert ascii_of("Zoë 統") == "Zo? ?"
    assert ascii_of("grad norm 1e-3") == "grad norm 1e-3"
