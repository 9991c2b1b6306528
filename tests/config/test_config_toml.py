"""What is written is read back as it was, and what a person wrote around it stays."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.config import toml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(
    st.booleans(), st.integers(-2**63, 2**63 - 1), st.floats(allow_nan=False), TEXT,
    st.dates(), st.datetimes(timezones=st.just(dt.timezone.utc)), st.times())
VALUES = st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)), max_leaves=8)
DOCUMENTS = st.dictionaries(TEXT, VALUES, max_size=5)
PATHS = st.lists(st.one_of(st.sampled_from(["theme", "fps", "layout", "log"]), TEXT), min_size=1, max_size=3).map(tuple)

FILE = """\
# my settings
theme = "nord"   # not too blue

# frames
fps = 2 # ssh is slow
"odd key" = 'a # b'  # quoted

[layout]  # remembered
hidden = ["lr"]

[layout.log]
# the loss
loss = true
[other]
theme = "not this one"
"""


@settings(max_examples=50)
@given(DOCUMENTS)
def test_a_document_comes_back_as_it_was_written(data):
    assert toml.loads(toml.dumps(data)) == data


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_as_they_did_and_only_where_toml_ends_them(end):
    text = f"# a line\u2028of two\x85halves{end}theme = 'dark'  # why{end}{end}[layout]{end}"
    assert toml.edited(text, {("theme",): "nord"}) == text.replace("'dark'", '"nord"')


def test_what_is_nested_too_deeply_is_no_document():
    with pytest.raises(ValueError, match="nested"):
        toml.loads("a = " + "[" * 100_000)


@settings(max_examples=50)
@given(DOCUMENTS, st.dictionaries(PATHS, st.one_of(st.none(), SCALARS), max_size=3))
def test_an_edited_document_says_what_was_wanted(data, changes):
    wanted = toml.changed(data, changes)
    assert toml.loads(toml.edited(toml.dumps(data), changes)) == wanted


@given(st.one_of(st.none(), SCALARS), st.sampled_from([("theme",), ("fps",), ("odd key",), ("new",), ("layout", "log", "loss"), ("layout", "log", "lr"), ("layout", "x", "y")]))
def test_comments_and_all_other_lines_stay(value, path):
    text = toml.edited(FILE, {path: value})
    for comment in ("# my settings", "# frames", "# remembered", "# the loss"):
        assert comment in text
    before, after = toml.loads(FILE), toml.loads(text)
    assert toml.changed(after, {path: None}) == toml.changed(before, {path: None}) or path[:2] == ("layout", "x")
    old, new = FILE.splitlines(), text.splitlines()
    assert len([line for line in old if line not in new]) <= 1


@pytest.mark.parametrize(("changes", "line"), [
    ({("theme",): "dark"}, 'theme = "dark"   # not too blue'),
    ({("fps",): 0.5}, "fps = 0.5 # ssh is slow"),
    ({("odd key",): True}, '"odd key" = true  # quoted'),
    ({("layout", "hidden"): ["a", "b"]}, 'hidden = ["a", "b"]'),
])
def test_a_value_is_changed_in_its_place(changes, line):
    text = toml.edited(FILE, changes)
    assert line in text.splitlines()
    assert 'theme = "not this one"' in text
    assert len(text.splitlines()) == len(FILE.splitlines())


def test_new_keys_stand_in_their_table_and_new_tables_at_the_end():
    lines = toml.edited(FILE, {("mouse",): "off", ("layout", "log", "lr"): False, ("layout", "smoothing", "loss"): 2}).splitlines()
    assert lines.index('mouse = "off"') < lines.index("[layout]  # remembered")
    assert lines[lines.index("lr = false") - 1] == "loss = true"
    assert lines[-2:] == ["[layout.smoothing]", "loss = 2"]
    assert toml.edited("# hello\n# again\n\n[a]\nb = 1\n", {("c",): 1}).splitlines()[:3] == ["# hello", "# again", "c = 1"]
    assert toml.edited("", {("a", "b"): 1}) == "[a]\nb = 1\n"


@pytest.mark.parametrize("text", ["hidden = [\n  'a',\n  'b',\n]\n", "a.b = 1\nhidden = 1\n", "hidden = '''\nx = 1\n'''\n", "x = {hidden = 1}\n"])
def test_what_cannot_be_edited_line_by_line_is_written_anew_and_says_the_same(text):
    found = toml.loads(toml.edited(text, {("hidden",): ["c"], ("a", "b"): 2}))
    assert found == {**toml.loads(text), "hidden": ["c"], "a": {"b": 2}}


def test_what_is_no_toml_is_not_touched():
    with pytest.raises(ValueError, match="line 2"):
        toml.edited("a = 1\nb = = 2\n", {("a",): 2})
