"""Two viewers of one training who do not wait for each other: each sends what a viewer does, with what it had seen."""

from __future__ import annotations

import os
import random
import threading
from typing import Any, Final

from tuimon.control.commands import Command, Who
from tuimon.control.revision import Revisions
from tuimon.control.spool import new_id, submit
from tuimon.control.states import VERBS, Verb
from tuimon.diagnosis.story import Story, tell
from tuimon.record.events import Event, EventReader
from tuimon.record.status import status
from tuimon.torture.bench import Bench, Training
from tuimon.torture.looking import expect, missing

ARGUMENTS: Final[dict[str, dict[str, Any]]] = {"set-lr-scale": {"scale": 0.5}, "set-clip": {"max_norm": 1.0}}
TWICE: Final = "twice"
ODD: Final[tuple[dict[str, Any], ...]] = ({"attempt": 7}, {"issued": 1.0}, {"id": TWICE})
"""For another attempt, too late, one that both send."""
VIEWERS: Final = tuple(Who(name, os.getuid(), "torture", pid, "viewer") for pid, name in enumerate(("ada", "bob"), 1))
PAIRS: Final[tuple[tuple[Verb, Verb], ...]] = (
    ("set-lr-scale", "set-clip"), ("rescue", "rescue"), ("undo-overrides", "rollback"))
"""Orders that cross each other, given on the same picture."""
UNSEEN: Final = "asked without knowing of the"


def conflicting_commands(bench: Bench) -> int:
    """Two viewers command at once, at random, and now and then too late, twice, or another attempt."""
    training = bench.start()
    training.more(30)
    sent: list[Command] = []
    viewers = [threading.Thread(target=_command, args=(training, who, bench.chance.random(), sent)) for who in VIEWERS]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    _answered(bench, training, {*(command.id for command in sent), training.ask("resume")})
    training.more(30, "after its commands")
    told = training.events("command")
    applied = [e.text("id") for e in told if e.text("outcome") == "applied"]
    expect(len(applied) == len(set(applied)), "a command was obeyed twice")
    expect(status(training.run).state == "running", f"after resume the run is {status(training.run).state}")
    _held_to(told, {command.id: command for command in sent})
    for pair in PAIRS:
        _cross(bench, training, pair)
    training.stop()
    return missing(training)


def _command(training: Training, who: Who, seed: float, sent: list[Command]) -> None:
    chance = random.Random(seed)  # noqa: S311  # commands, not secrets
    reader, story = EventReader(training.run.events), Story()
    for i in range(25):
        for event in reader.poll():
            story = tell(story, event)
        verb: Verb = chance.choice([verb for verb in VERBS if verb != "stop"])
        odd = ODD[i // 8] if i % 8 == 7 else {}  # few: of a flood of what is refused, the run's log tells a part
        command = Command(**{"id": new_id(), "verb": verb, "args": ARGUMENTS.get(verb, {}), "ttl": 600.0,
                             "issued": float(1 << 40), "who": who, "base_rev": story.revision, **odd})
        submit(training.run.commands, command)
        sent.append(command)


def _answered(bench: Bench, training: Training, asked: set[str]) -> list[Event]:
    """The answer to each of these, in the order in which they were given."""
    def answers() -> list[Event]:
        return [e for e in training.events("command") if e.text("id") in asked and _is_answer(e)]

    bench.wait(lambda: {e.text("id") for e in answers()} == asked, "an answer to each command")
    return answers()


def _is_answer(event: Event) -> bool:
    return event.text("outcome") in ("applied", "refused")


def _held_to(told: list[Event], sent: dict[str, Command]) -> None:
    """Nothing was applied that another's unseen order spoke against; nothing was refused for what was not."""
    done = Revisions(lambda: 0.0)
    for event in filter(_is_answer, told):
        name, verb, why = event.text("id"), event.text("verb"), event.text("why")
        command = sent.get(name) if name != TWICE else None   # there, what was obeyed may be either of two
        against = "" if command is None else done.against(command)
        if event.text("outcome") == "applied":
            expect(not against, f"{verb} was obeyed though {against}")
            done.applied(Command(name, verb, who=Who(**event.fields["who"])), event.step)  # type: ignore[arg-type]
        else:
            expect(why, f"{verb} was refused without a reason")
            is_false = command is not None and why.startswith(UNSEEN) and not against
            expect(not is_false, f"{verb} was refused for what was not: {why}")


def _cross(bench: Bench, training: Training, pair: tuple[Verb, Verb]) -> None:
    """Both confirm on the same picture: at most one is obeyed, and the other is told of that one."""
    story = Story()
    for event in training.events():
        story = tell(story, event)
    asked = {training.ask(verb, who=who, base_rev=story.revision, args=ARGUMENTS.get(verb, {}))
             for verb, who in zip(pair, VIEWERS, strict=True)}
    answers = _answered(bench, training, asked)
    applied = [e for e in answers if e.text("outcome") == "applied"]
    expect(len(applied) < 2, f"{pair[0]} and {pair[1]} were both obeyed, and neither knew of the other")
    if applied and applied[0] is answers[0]:
        refused, who = answers[1], applied[0].fields["who"]["user"]
        said = refused.text("why").startswith(f"{UNSEEN} {applied[0].text('verb')} by {who} ")
        expect(said, f"{refused.text('verb')} was refused for another reason: {refused.text('why')}")
