"""The optional extra delivers: apprise itself, to a server on this machine; skipped where it is not installed."""

from __future__ import annotations

import pytest
from stub_hook import Hook

from tuimon.cli import main
from tuimon.notify.channels import send
from tuimon.notify.message import Message
from tuimon.notify.targets import target

pytest.importorskip("apprise", reason="apprise is not installed: pip install 'tuimon[notify]'")
pytestmark = pytest.mark.filterwarnings("ignore")   # of its own

MESSAGE = Message("1:x", "incident", "critical", "Exploding gradients (critical)", "since step 203", 210, 1.5, "run-1", "a run", "node7", "tuimon watch run-1")


def by_apprise(hook: Hook) -> str:
    """As a person writes it."""
    return hook.url.replace("http://", "json://").partition("?")[0]


def test_what_goes_wrong_arrives_through_apprise_with_its_words_and_its_weight():
    with Hook() as hook:
        assert send(target(by_apprise(hook)), MESSAGE).arrived
        got = hook.next()
    assert got["path"].rstrip("/") == "/hook/SECRET"
    assert got["body"]["title"] == "a run: Exploding gradients (critical)"
    assert "since step 203" in got["body"]["message"]
    assert "tuimon watch run-1" in got["body"]["message"]
    assert got["body"]["type"] == "failure"


def test_what_apprise_cannot_deliver_is_said_without_the_url_and_tried_again(capfd):
    with Hook(500) as hook:
        outcome = send(target(by_apprise(hook)), MESSAGE)
    assert (outcome.arrived, outcome.again) == (False, True)
    assert "SECRET" not in outcome.why + "".join(capfd.readouterr())


def test_a_person_tries_it_with_notify_test(monkeypatch, capsys):
    with Hook() as hook:
        monkeypatch.setenv("TUIMON_NOTIFY", by_apprise(hook))
        assert main(["notify", "test"]) == 0
        hook.next()
    said = capsys.readouterr().out
    assert "json by apprise" in said
    assert "SECRET" not in said
