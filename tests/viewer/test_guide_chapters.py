"""The guide's chapters: each reads at any width, and what it names exists."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex

import pytest
from rich.cells import cell_len

from tuimon.cli import COMMANDS
from tuimon.cli.guide import run
from tuimon.demo.scenarios import SCENARIOS
from tuimon.diagnosis.manual import page as manual_page
from tuimon.errors import UsageError
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.lines import Span, text_of
from tuimon.viewer.places.guide.content import HERE, KEYS, chapter, chapters
from tuimon.viewer.places.guide.miniatures import MINIATURES
from tuimon.viewer.places.guide.page import page
from tuimon.viewer.places.guide.typeset import INDENT, typeset

ALL = chapters()
NARROWEST = 52
"""Cells for text beside the list on a terminal of 80 columns."""
each = pytest.mark.parametrize("one", ALL, ids=lambda one: one.slug)


def test_the_issue_s_lessons_are_all_there():
    slugs = [one.slug for one in ALL]
    assert len(set(slugs)) == len(slugs)
    assert {"panel", "exploding", "vanishing", "learning-rate", "monitor", "emergency", "practice", "glossary"} <= set(slugs)
    assert sum(one.within == "patterns" for one in ALL) == 6
    assert {one.within for one in ALL} - {""} <= set(slugs)
    practice = " ".join(text_of(block.line) for block in chapter("practice").blocks)
    for habit in ("Always watch the gradients", "Clip at 1.0 as a safety net", "Checkpoint often", "Start from proven settings", "1e-5 to 1e-3", "Validate regularly"):
        assert habit in practice


@each
def test_a_chapter_fits_every_width(one):
    for width in (NARROWEST, 40, 51, 74, 80, 84, 200):
        lines = typeset(one, width)
        assert max(cell_len(text_of(line)) for line in lines) <= min(width, 84)
        assert not any(text_of(line).endswith(" ") for line in lines)
    assert all(text_of(line).isascii() for line in typeset(one, 80, ascii_only=True))


@each
def test_no_word_is_lost_between_the_file_and_the_screen(one):
    path = next(path for path in HERE.iterdir() if path.stem[3:] == one.slug)
    body = path.read_text(encoding="utf-8").partition("\n\n")[2]
    written = re.sub(r"\*\*|`|^## |^- |^\d\. ", "", body, flags=re.MULTILINE).split()
    shown = [text_of(line) for line in typeset(one, 60)]
    shown = [re.sub(r"^(· |\d\. )", "", line) for line in shown]
    text = " ".join(" ".join(shown).split())
    assert " ".join(written) in text


@each
def test_what_a_chapter_names_exists(one):
    assert not one.shows or one.shows in MINIATURES
    for rule in one.rules:
        assert manual_page(rule).slug == rule
    typed = [span.text for block in one.blocks for span in block.line if span.tone == "key"]
    for command in (*one.tries, *(text for text in typed if text.startswith("tuimon "))):
        _, name, *rest = shlex.split(command)
        assert name in COMMANDS
        parser = argparse.ArgumentParser(exit_on_error=False)
        importlib.import_module(f"tuimon.cli.{name}").add_arguments(parser)
        parser.parse_args(rest)
        if name == "demo" and rest:
            assert rest[0] in SCENARIOS


@each
def test_the_tone_is_calm(one):
    text = " ".join(text_of(line) for line in typeset(one, 84))
    assert "!" not in text
    assert not re.search(r"\b(?:just|simply|obviously|very)\b", text)


@pytest.mark.parametrize("path", sorted(HERE.iterdir()), ids=lambda path: path.name)
def test_chapter_files_keep_to_the_subset(path):
    head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
    title, *rows = head.split("\n")
    assert title.startswith("# ")
    assert all(row.split(": ")[0] in KEYS for row in rows)
    assert not re.search(r"^(#|>|\||\* |```|\t)", re.sub("^## ", "", body, flags=re.MULTILINE), re.MULTILINE)
    assert body.count("**") % 2 == body.count("`") % 2 == 0
    assert all(len(row) <= 4 + NARROWEST - len(INDENT) for row in body.split("\n") if row.startswith("    "))


def test_a_chapter_is_found_by_its_name_or_its_beginning():
    assert chapter("vanish").slug == "vanishing"
    assert chapter("Learning Rate").slug == "learning-rate"
    with pytest.raises(UsageError, match="did you mean exploding"):
        chapter("explodin-gradients")
    with pytest.raises(UsageError, match="pattern-healthy or"):
        chapter("pattern-")


def test_the_printed_page_has_curves_and_text_and_fits():
    for width in (40, 80, 120):
        for glyphs in (BRAILLE, ASCII):
            rows = page(chapter("exploding"), width, glyphs)
            assert rows[0] == "Exploding gradients"
            assert any("loss · log" in row or "loss - log" in row for row in rows)
            assert all(glyphs is BRAILLE or row.isascii() for row in rows)
            assert max(cell_len(row) for row in rows if not row.startswith(INDENT)) <= width


def test_the_command_prints_the_list_and_a_chapter(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(argparse.Namespace(chapter=None)) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == [one.slug for one in ALL]
    assert run(argparse.Namespace(chapter="glossary")) == 0
    assert "Update ratio" in capsys.readouterr().out


def test_words_in_several_tones_stay_together():
    from tuimon.viewer.arrange import wrap

    rows = wrap((Span("a "), Span("strong", "strong"), Span(", then on")), 9)
    assert [text_of(row).rstrip() for row in rows] == ["a strong,", "then on"]
    rows = wrap((Span("a "), Span("strong", "strong"), Span(", then on")), 8)
    assert [text_of(row).rstrip() for row in rows] == ["a", "strong,", "then on"]
