"""Key s: what is on the screen as files that can be sent to somebody."""

from __future__ import annotations

import io
import sys
import zlib

import pytest
from rich.console import Console

from tuimon.viewer import export


def svg(text: str) -> str:
    console = Console(record=True, width=40, file=io.StringIO())
    console.print(text)
    return console.export_svg(title="tuimon")


def dots(png: bytes) -> bytes:
    """What the image data of a PNG unpack to."""
    found, at = b"", 8
    while at < len(png):
        length, kind = int.from_bytes(png[at:at + 4], "big"), png[at + 4:at + 8]
        found += png[at + 8:at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    return zlib.decompress(found)


def test_a_picture_is_never_written_over_another_and_its_name_is_harmless(tmp_path):
    names = [export.save("<svg/>", "../a run: 1", 12, tmp_path)[0].name for _ in range(2)]
    assert names == ["a-run-1-step-12.svg", "a-run-1-step-12-2.svg"]


def test_a_png_that_lost_its_svg_is_left_as_it_is(tmp_path):
    lonely = tmp_path / "run-step-1.png"
    lonely.write_bytes(b"mine")
    saved = export.save(svg("loss"), "run", 1, tmp_path)
    assert saved[0].name == "run-step-1-2.svg"
    assert lonely.read_bytes() == b"mine"


def test_without_the_extra_there_is_the_svg_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert [path.suffix for path in export.save(svg("loss"), "run", 1, tmp_path)] == [".svg"]


def test_what_cannot_be_drawn_leaves_the_svg_alone(tmp_path):
    assert [path.suffix for path in export.save("no picture", "run", 1, tmp_path)] == [".svg"]


def test_the_png_has_the_words_in_a_font_that_is_here(tmp_path):
    pytest.importorskip("resvg_py")
    blank, told = export.png(svg("")), export.png(svg("loss 2.01 " + "⣿" * 20))
    if told is None:
        pytest.skip("no font of one width on this machine")
    assert blank is not None
    assert told[:4] == b"\x89PNG"
    assert dots(told) != dots(blank)
    saved = export.save(svg("loss"), "run", 3, tmp_path)
    assert [path.name for path in saved] == ["run-step-3.svg", "run-step-3.png"]


def test_without_a_font_there_is_no_picture_without_words(monkeypatch, tmp_path):
    monkeypatch.setattr(export, "FOLDERS", (str(tmp_path),))
    assert export.png(svg("loss")) is None
