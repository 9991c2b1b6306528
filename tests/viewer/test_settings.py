"""Preferences: who decides, what is said about a wrong one, and a file that survives."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import settings as hsettings
from hypothesis import strategies as st

from tuimon.config import toml
from tuimon.config.file import MOST, Keeper, config_path, load, save
from tuimon.viewer import settings as s

CHOSEN = st.fixed_dictionaries({}, optional={row.key: st.sampled_from(row.values) for row in s.SETTINGS})
JUNK = st.one_of(st.text(max_size=5), st.integers(), st.floats(), st.booleans(), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2))


def test_the_table_and_the_settings_are_one_thing():
    assert [row.key for row in s.SETTINGS] == [f.name for f in fields(s.Settings) if f.name != "layout"]
    for row in s.SETTINGS:
        assert getattr(s.Settings(), row.key) == row.default
        assert all(row.accept(value) == value for value in row.values)
        assert all(row.read(s.shown(value)) == value for value in row.values if isinstance(value, str) or row.limits)


def test_a_flag_counts_more_than_the_environment_than_the_file_than_the_default():
    env, kept = {"TUIMON_THEME": "gruvbox", "TUIMON_FPS": "2"}, {"theme": "mocha", "fps": 1, "glyphs": "block"}
    found = s.settle({"theme": "nord"}, env, kept)
    assert (found.settings.theme, found.settings.fps, found.settings.glyphs, found.settings.alerts) == ("nord", 2, "block", "auto")
    assert [found.origin(key) for key in ("theme", "fps", "glyphs", "alerts")] == ["flag", "environment", "file", "default"]
    assert found.said_by("theme") == "--theme"
    assert found.said_by("fps") == "TUIMON_FPS"
    assert not found.problems


@pytest.mark.parametrize(("env", "kept", "line"), [
    ({}, {"fps": "fast"}, "config.toml: fps = 'fast' is not auto or a number from 0.2 to 10; auto is used"),
    ({}, {"fps": True}, "config.toml: fps = True is not auto or a number from 0.2 to 10; auto is used"),
    ({}, {"theme": "gruvbix"}, "config.toml: theme = 'gruvbix' is not a theme (gruvbox?); auto is used"),
    ({"TUIMON_THEME": "no\x1b[31m"}, {"theme": "nord"}, "TUIMON_THEME = 'no\\x1b[31m' is not a theme; nord is used"),
    ({"TUIMON_MOUSE": "maybe"}, {}, "TUIMON_MOUSE = 'maybe' is not one of auto, on, off; auto is used"),
    ({}, {"smoothing": 9}, "config.toml: smoothing = 9 is not one of 0, 1, 2, 3, 4, 5; 0 is used"),
    ({}, {"layout": 3}, "config.toml: layout is no table; it is forgotten"),
    ({}, {"layout": {"log": {"loss": "x"}}}, "config.toml: layout says what cannot be; it is forgotten"),
])
def test_a_wrong_value_is_left_out_with_one_line(env, kept, line):
    found = s.settle({}, env, kept)
    assert found.problems == (line,)


@pytest.mark.parametrize(("word", "wanted"), [("0", "off"), ("no", "off"), ("ON", "on"), ("yes", "on"), ("auto", "auto"), ("  ", "auto")])
def test_the_environment_is_read_as_people_write_it(word, wanted):
    assert s.settle({}, {"TUIMON_MOUSE": word}, {}).settings.mouse == wanted


@given(st.dictionaries(st.one_of(st.sampled_from([row.key for row in s.SETTINGS] + ["layout"]), st.text(max_size=4)), JUNK, max_size=5))
def test_whatever_the_file_says_there_are_settings(kept):
    found = s.settle({}, {}, kept)
    assert all(s.find(f.name).accept(getattr(found.settings, f.name)) is not None for f in fields(s.Settings) if f.name != "layout")
    assert all("\n" not in line and "\x1b" not in line for line in found.problems)


def test_what_is_worn_frames_and_mouse_follow_the_terminal():
    assert s.Settings().palette_name(dark=None) == "dark"
    assert s.Settings().palette_name(dark=False) == "light"
    assert s.Settings(theme="ansi").palette_name(dark=False) == "ansi-light"
    assert s.Settings(theme="nord").palette_name(dark=False) == "nord"
    assert (s.Settings().period(remote=False), s.Settings().period(remote=True), s.Settings(fps=8).period(remote=True)) == (0.25, 0.5, 0.125)
    assert [s.Settings(mouse=m).has_mouse(remote=r) for m in ("auto", "on", "off") for r in (False, True)] == [True, False, True, True, False, False]


def test_choosing_and_resetting_say_where_a_value_comes_from():
    found = s.settle({"theme": "nord"}, {}, {"theme": "mocha"})
    chosen = found.preferring("theme", "ember")
    assert (chosen.settings.theme, chosen.origin("theme"), chosen.outside) == ("ember", "file", {"theme": "nord"})
    reset = chosen.without("theme")
    assert (reset.settings.theme, reset.origin("theme"), reset.kept) == ("auto", "default", {})


@pytest.mark.parametrize(("env", "path"), [
    ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/tuimon/config.toml"), ({"HOME": "/h"}, "/h/.config/tuimon/config.toml"),
    ({"XDG_CONFIG_HOME": "relative", "HOME": "/h"}, "/h/.config/tuimon/config.toml"), ({}, None), ({"HOME": "~"}, None),
])
def test_the_file_is_where_xdg_says(env, path):
    assert config_path(env) == path


@hsettings(max_examples=25)
@given(CHOSEN, CHOSEN)
def test_what_is_saved_is_what_is_settled_next_time(tmp_path_factory, first, then):
    path = str(tmp_path_factory.mktemp("c") / "deep" / "config.toml")
    for changes in (first, then):
        keeper = Keeper(path)
        keeper.want({s.find(key).path: value for key, value in changes.items()})
        assert keeper.flush() == ""
    kept, problems = load(path)
    found = s.settle({}, {}, kept, problems)
    assert not found.problems
    for key, value in {**first, **then}.items():
        assert getattr(found.settings, key) == value


def test_the_layout_is_remembered_and_forgotten(tmp_path):
    path = str(tmp_path / "config.toml")
    before, after = s.Layout(), s.Layout(("full:lr",), {"loss": True, "grad norm": False}, {"loss": 2})
    save(path, s.layout_changes(before, after))
    assert s.settle({}, {}, load(path)[0]).settings.layout == after
    save(path, s.layout_changes(after, s.Layout((), {"loss": True}, {})))
    assert s.settle({}, {}, load(path)[0]).settings.layout == s.Layout((), {"loss": True}, {})
    assert not s.layout_changes(after, after)


def test_the_file_is_private_and_comments_unknown_keys_and_links_stay(tmp_path):
    real, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    real.write_text('# mine\nfuture = [1, 2]\ntheme = "nord" # blue\n')
    link.symlink_to(real)
    save(str(link), {("theme",): "ember", ("fps",): 2})
    assert link.is_symlink()
    assert real.read_text() == '# mine\nfuture = [1, 2]\ntheme = "ember" # blue\nfps = 2\n'
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.toml", "dotfiles.toml"]


def test_nothing_is_made_on_disk_before_something_is_chosen(tmp_path):
    path = tmp_path / "deep" / "config.toml"
    assert load(str(path)) == ({}, ())
    assert Keeper(str(path)).flush() == ""
    save(str(path), {("theme",): None})
    assert not path.parent.exists()


@pytest.mark.parametrize(("content", "line"), [
    (b"a = 1\ntheme = = 2\n", "config.toml is not valid: Invalid value (at line 2, column 9); defaults are used"),
    (b"\xff\xfe", "config.toml is not valid: it is no UTF-8; defaults are used"),
])
def test_a_file_that_is_no_toml_is_told_and_left_as_it_is(tmp_path, content, line):
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    assert load(str(path)) == ({}, (line,))
    keeper = Keeper(str(path))
    keeper.want({("theme",): "nord"})
    assert keeper.flush().startswith("not kept: config.toml is not valid")
    assert path.read_bytes() == content


def test_no_home_a_pipe_and_a_folder_without_rights_hinder_nothing(tmp_path):
    keeper = Keeper(None)
    keeper.want({("theme",): "nord"})
    assert keeper.flush() == "not kept: neither HOME nor XDG_CONFIG_HOME says where"
    assert load(None) == ({}, ())
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert load(str(pipe)) == ({}, ("config.toml cannot be read: it is no file; defaults are used",))
    blocked = tmp_path / "file" / "tuimon" / "config.toml"
    (tmp_path / "file").write_text("")
    keeper = Keeper(str(blocked))
    keeper.want({("theme",): "nord"})
    assert keeper.flush() == "not kept: Not a directory"


def test_two_viewers_at_once_keep_what_the_other_has_chosen(tmp_path):
    path = tmp_path / "config.toml"
    one, other = Keeper(str(path)), Keeper(str(path))
    for keeper, key, value in ((one, "theme", "nord"), (other, "theme", "latte"), (other, "zones", "none"), (one, "fps", 2)):
        keeper.want({(key,): value})
        assert keeper.flush() == ""
    assert toml.loads(path.read_text()) == {"theme": "latte", "fps": 2, "zones": "none"}


def test_a_file_of_any_length_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("# as long as you like\n" * (MOST // 20))
    assert load(str(path)) == ({}, ("config.toml is not valid: it is too long; defaults are used",))


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    path.write_text("theme = 'nord'\n")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    keeper = Keeper(str(path))
    keeper.want({("theme",): "ember"})
    assert keeper.flush() == "not kept: No space left on device"
    assert path.read_text() == "theme = 'nord'\n"
    assert list(tmp_path.iterdir()) == [path]


def test_the_last_choice_wins_whichever_thread_writes(tmp_path):
    path = str(tmp_path / "config.toml")
    keeper = Keeper(path)
    threads = []
    for i in range(20):
        keeper.want({("fps",): i})
        threads.append(threading.Thread(target=keeper.flush))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert toml.loads((tmp_path / "config.toml").read_text()) == {"fps": 19}


def test_settings_load_nothing_heavy():
    code = "import sys, tuimon.viewer.settings, tuimon.config.file; assert not {'numpy', 'rich', 'textual'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
