"""The options that every command with a panel has."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from tuimon.cli import main
from tuimon.cli.looking import add_looking_arguments, settings_from


def asked(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_looking_arguments(parser)
    return parser.parse_args(argv)


def settled(tmp_path, *argv, env=None):
    return settings_from(asked(*argv), {"HOME": str(tmp_path), **(env or {})})


@pytest.mark.parametrize(("argv", "key", "value"), [
    (["--theme", "Nord"], "theme", "nord"), (["--glyphs", "block"], "glyphs", "block"), (["--ascii"], "glyphs", "ascii"),
    (["--fps", "0.5"], "fps", 0.5), (["--fps", "auto"], "fps", "auto"), (["--no-mouse"], "mouse", "off"),
])
def test_a_flag_decides(tmp_path, argv, key, value):
    found = settled(tmp_path, *argv, env={"TUIMON_THEME": "ember", "TUIMON_GLYPHS": "braille", "TUIMON_FPS": "8", "TUIMON_MOUSE": "on"})
    assert getattr(found.settings, key) == value
    assert found.origin(key) == "flag"
    assert [k for k in ("theme", "glyphs", "fps", "mouse") if found.origin(k) == "environment"] == [k for k in ("theme", "glyphs", "fps", "mouse") if k != key]


def test_the_file_counts_where_nothing_else_is_said(tmp_path):
    (tmp_path / ".config" / "tuimon").mkdir(parents=True)
    (tmp_path / ".config" / "tuimon" / "config.toml").write_text("theme = 'mocha'\nfps = 'fast'\n")
    found = settled(tmp_path)
    assert (found.settings.theme, found.origin("theme")) == ("mocha", "file")
    assert len(found.problems) == 1


@pytest.mark.parametrize(("argv", "words"), [
    (["--theme", "gruvbix"], "'gruvbix' is not a theme (gruvbox?)"), (["--fps", "0"], "'0' is not auto or a number from 0.2 to 10"),
    (["--fps", "nan"], "'nan' is not auto"), (["--glyphs", "emoji"], "'emoji' is not one of auto, braille, block, ascii"),
])
def test_a_wrong_value_is_refused_in_one_line(argv, words):
    with pytest.raises(argparse.ArgumentError, match="is not") as caught:
        asked(*argv)
    assert words in str(caught.value)


def test_the_options_load_nothing_heavy():
    code = ("import argparse, sys; from tuimon.cli.looking import add_looking_arguments as add; p = argparse.ArgumentParser(); add(p); "
            "p.parse_args(['--theme', 'nord']); assert not {'numpy', 'rich', 'textual', 'tomllib'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", ["watch", "compare", "demo"])
def test_whatever_opens_a_panel_takes_them_and_a_wrong_word_names_the_help_that_helps(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "a", "--theme", "nord", "--ascii", "--no-pace", "--colour"])
    assert left.value.code == 2
    assert capsys.readouterr().err == f"tuimon: unrecognized arguments: --colour; see tuimon {command} --help\n"
