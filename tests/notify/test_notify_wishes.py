"""Who is told: an argument before the environment before the file; wrong ones are said in a line that repeats no secret."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.errors import UsageError
from tuimon.notify.targets import target
from tuimon.notify.wishes import Wishes, wish

HOOK = "https://hooks.example.com/services/SECRET?token=SECRET"
PYTHON = f"{sys.executable} -c pass"


@pytest.mark.parametrize(("word", "kind", "label"), [
    (HOOK, "webhook", "webhook hooks.example.com"),
    ("http://user:SECRET@127.0.0.1:8080/x", "webhook", "webhook 127.0.0.1:8080"),
    ("https://ntfy.sh/SECRET", "ntfy", "ntfy ntfy.sh"),
    ("ntfy+http://box:90/SECRET", "ntfy", "ntfy box:90"),
    ("sh -c 'echo SECRET'", "command", "command sh"),
])
def test_a_target_is_known_by_what_it_looks_like_and_called_without_its_secret(word, kind, label):
    found = target(word)
    assert (found.kind, found.label) == (kind, label)
    assert "SECRET" not in repr(found)


@pytest.fixture
def without_apprise(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "apprise" else find(name, *rest))


@pytest.mark.usefixtures("without_apprise")
@pytest.mark.parametrize("wrong", [
    "", "  ", 3, None, b"x", "https://", "https:///SECRET", "http://[SECRET", "http://h:SECRET/", "https://a b/SECRET",
    "no-such-program-SECRET x", "sh -c 'SECRET", "file:///SECRET", "SECRET://x", "sh\nSECRET", "sh " + "x" * 3000, [3], {"to": "sh"},
], ids=repr)
def test_what_is_no_target_is_refused_at_once_in_one_line_without_repeating_it(wrong):
    with pytest.raises(UsageError) as error:
        wish(wrong if wrong is not None else [None], {}, {})
    assert "\n" not in str(error.value)
    assert "SECRET" not in str(error.value)


@given(st.text())
def test_any_text_is_a_target_or_refused(word):
    try:
        found = target(word)
    except UsageError as error:
        said = str(error)
    else:
        said = found.label
        assert found.word == word.strip()
    assert "\n" not in said


def test_the_argument_counts_more_than_the_environment_and_that_more_than_the_file():
    kept = {"notify": {"to": [PYTHON, HOOK], "severity": "warning", "ends": ["finished"]}}
    def told(*given):
        return [t.word for t in wish(*given)[0].targets]
    assert told(None, {}, kept) == [PYTHON, HOOK]
    assert told(None, {"TUIMON_NOTIFY": f"sh\n{HOOK}"}, kept) == ["sh", HOOK]
    assert told(None, {"TUIMON_NOTIFY": "off"}, kept) == []
    assert told("sh", {"TUIMON_NOTIFY": HOOK}, kept) == ["sh"]
    assert told([], {"TUIMON_NOTIFY": HOOK}, kept) == []
    assert wish("sh", {}, kept)[0].severity == "warning"
    assert wish("sh", {}, kept)[0].ends == ("finished",)


@pytest.mark.parametrize(("kept", "said"), [
    ({"notify": 3}, "notify is no table"), ({"notify": {"severty": "critical"}}, "notify.severty is none of"),
    ({"notify": {"severity": "mild"}}, "severity"), ({"notify": {"ends": ["never"]}}, "ends"), ({"notify": {"to": 3}}, "notify.to"),
    ({"notify": {"to": ["no-such-program-at-all"]}}, "config.toml: notify wants"),
])
def test_what_is_wrong_in_the_file_is_one_line_and_the_rest_holds(kept, said):
    wishes, problems = wish(None, {}, kept)
    assert len(problems) == 1
    assert said in problems[0]
    assert (wishes.severity, wishes.ends) == ("critical", ("crashed",))


def test_wishes_travel_to_the_helper_as_one_line():
    wishes, _ = wish(["sh", HOOK], {}, {"notify": {"ends": ["stopped"]}}, "/tmp")
    line = wishes.encode()
    assert line.count(b"\n") == 1
    assert Wishes.decode(line) == wishes
