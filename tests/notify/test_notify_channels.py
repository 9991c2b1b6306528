"""One try at one target: what arrives, and what is said, without its secret, where nothing does."""

from __future__ import annotations

import json
import sys
import threading

import pytest
from stub_hook import Hook

from tuimon.notify import channels
from tuimon.notify.channels import Outcome, send
from tuimon.notify.delivery import Delivery, Report
from tuimon.notify.message import Message
from tuimon.notify.targets import Target, target

MESSAGE = Message("1:x", "incident", "critical", "Exploding gradients (critical)", "since step 203", 210, 1.5, "run-1", "a run", "node7", "tuimon watch run-1")


def test_a_webhook_gets_json_that_slack_and_discord_understand():
    with Hook() as hook:
        assert send(target(hook.url), MESSAGE).arrived
        got = hook.next()
    body = got["body"]
    assert got["path"] == "/hook/SECRET?key=SECRET"
    assert body["text"] == body["content"] == "a run: Exploding gradients (critical)\nsince step 203\nstep 210 · node7 · tuimon watch run-1"
    assert (body["run"], body["severity"], body["headline"], body["step"]) == ("run-1", "critical", MESSAGE.headline, 210)


def test_ntfy_gets_the_text_itself():
    with Hook() as hook:
        assert send(target("ntfy+" + hook.url), MESSAGE).arrived
        got = hook.next()
    assert got["body"].startswith("a run: Exploding gradients")
    assert got["headers"]["Priority"] == "high"


@pytest.mark.parametrize(("status", "again"), [(404, False), (400, False), (302, False), (429, True), (500, True), (503, True)])
def test_a_webhook_that_refuses_is_tried_again_only_where_that_can_help(status, again):
    with Hook(status, retry_after="7") as hook:
        outcome = send(target(hook.url), MESSAGE)
    assert outcome.why.startswith(f"HTTP {status}")
    assert (outcome.again, outcome.wait) == (again, 7.0)


def test_nobody_there_and_nobody_who_answers_are_said_without_the_url(monkeypatch):
    monkeypatch.setattr(channels, "HTTP_S", 0.2)
    with Hook(None) as hook:
        assert send(target(hook.url), MESSAGE).why == "no answer within 0 s"
        url = hook.url
    assert send(target(url), MESSAGE).why == "Connection refused"


def test_a_command_gets_the_message_in_its_environment_and_on_standard_input(tmp_path):
    script = "import os, sys; open('told', 'w').write(os.environ['TUIMON_HEADLINE'] + '|' + os.environ['TUIMON_SEVERITY'] + '|' + sys.argv[1] + '|' + sys.stdin.read())"
    word = f'{sys.executable} -c "{script}" "a; b"'
    assert send(target(word), MESSAGE, str(tmp_path)).arrived
    headline, severity, argument, body = (tmp_path / "told").read_text().split("|")
    assert (headline, severity, argument) == (MESSAGE.headline, "critical", "a; b")
    assert json.loads(body)["watch"] == "tuimon watch run-1"


def test_a_command_goes_through_no_shell_and_sees_no_other_target(tmp_path, monkeypatch):
    monkeypatch.setenv("TUIMON_NOTIFY", "https://host/SECRET")
    assert send(target("sh -c 'test -z \"$TUIMON_NOTIFY\"'"), MESSAGE).arrived
    assert send(target("echo $(touch shelled)"), MESSAGE, str(tmp_path)).arrived
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_hangs_or_reads_nothing_is_said_and_killed_with_what_it_started(monkeypatch):
    assert send(target("sh -c 'exit 3'"), MESSAGE).why == "exit status 3"
    assert send(target("sh -c 'exec <&-; exit 0'"), MESSAGE).arrived
    assert send(Target("command", "command x", "/no/such/program"), MESSAGE) == Outcome("cannot be started: No such file or directory", again=False)
    monkeypatch.setattr(channels, "COMMAND_S", 0.3)
    assert send(target("sh -c 'sleep 600 & sleep 600'"), MESSAGE).why == "not done after 0 s: killed"


class Sender:
    """Answers as it was told to, and remembers."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes, self.sent = list(outcomes), list[Message]()

    def __call__(self, _: Target, message: Message) -> Outcome:
        self.sent.append(message)
        return self.outcomes.pop(0) if self.outcomes else Outcome()


def delivered(sender, *messages):
    done, reports = threading.Event(), list[Report]()

    def tell(report: Report) -> None:
        reports.append(report)
        if report.is_final:
            done.set()

    delivery = Delivery(target("sh"), sender, tell, first=0.01, longest=0.02)
    for message in messages:
        delivery.put(message)
    assert done.wait(60)
    return reports


def test_a_target_that_fails_for_a_while_gets_the_message_in_the_end_with_a_line_at_both_ends():
    reports = delivered(Sender(*[Outcome("HTTP 503")] * 4), MESSAGE)
    assert [(r.tries, r.why, r.is_final) for r in reports] == [(1, "HTTP 503", False), (5, "", True)]


def test_a_target_that_refuses_for_good_is_not_asked_again():
    sender = Sender(Outcome("HTTP 404", again=False))
    assert [(r.tries, r.why) for r in delivered(sender, MESSAGE)] == [(1, "HTTP 404")]
    assert len(sender.sent) == 1
