"""Which order is refused because its sender had not seen another one: two people, every pair of verbs."""

from __future__ import annotations

import pytest

from tuimon.control.commands import Command, Who, decode, encode
from tuimon.control.revision import KEPT, Revisions
from tuimon.control.states import VERBS
from tuimon.errors import CommandError

ADA, BOB = Who("ada", 1000, "desk", 7, "viewer", "pts/3"), Who("bob", 1001, "lap", 9, "10.0.0.9")
_ARGS = {"set-lr-scale": {"scale": 0.5}, "set-clip": {"max_norm": 1.0}}
CONFLICTS = {
    "rescue": {"rescue", "rollback", "set-lr-scale", "set-clip", "undo-overrides", "pause", "hold", "resume"},
    "rollback": {"rescue", "rollback", "set-lr-scale", "set-clip", "undo-overrides", "pause", "hold", "resume"},
    "set-lr-scale": {"rescue", "rollback", "set-lr-scale", "set-clip", "undo-overrides"},
    "set-clip": {"rescue", "rollback", "set-lr-scale", "set-clip", "undo-overrides"},
    "undo-overrides": {"rescue", "rollback", "set-lr-scale", "set-clip", "undo-overrides"},
    "resume": {"rescue", "rollback", "set-lr-scale", "set-clip", "undo-overrides", "pause", "hold"},
    "pause": set(), "hold": set(), "stop": set(), "checkpoint": set(),
}


def asks(name, verb, who, base=None):
    return Command(name, verb, _ARGS.get(verb, {}), who=who, base_rev=base)


def after(*done, now=0.0):
    moment = [0.0]
    found = Revisions(lambda: moment[0])
    for step, command in enumerate(done, 190):
        found.applied(command, step)
    moment[0] = now
    return found


@pytest.mark.parametrize("first", VERBS)
@pytest.mark.parametrize("second", VERBS)
def test_an_order_is_refused_where_one_that_crosses_it_came_in_between_and_only_there(first, second):
    found = after(asks("a", first, ADA))
    assert bool(found.against(asks("b", second, BOB, base=""))) == (first in CONFLICTS[second])
    assert found.against(asks("b", second, BOB, base="a")) == ""   # it was seen
    assert found.against(asks("b", second, BOB)) == ""   # sent by a viewer that says nothing of it
    assert found.against(asks("b", second, ADA, base="")) == ""   # one knows what one ordered


def test_the_refusal_says_who_did_what_when():
    found = after(asks("a", "rescue", ADA), now=4.2)
    assert found.against(asks("b", "rescue", BOB, base="")) == (
        "asked without knowing of the rescue by ada (viewer, pts/3) at step 190, 4 s ago")


def test_what_was_seen_does_not_speak_against_it_and_what_came_after_does():
    done = [asks("a", "set-clip", ADA), asks("b", "rescue", ADA), asks("c", "hold", BOB)]
    assert "set-clip" in after(*done[:1]).against(asks("x", "undo-overrides", BOB, base=""))
    assert after(*done).against(asks("x", "set-clip", BOB, base="b")) == ""   # a hold does not cross it
    assert "rescue by ada" in after(*done).against(asks("x", "set-clip", BOB, base="a"))


def test_an_unknown_picture_is_an_old_one_and_only_so_much_is_remembered():
    found = after(*[asks(f"n{i}", "set-clip", ADA) for i in range(10 * KEPT)])
    assert found.against(asks("x", "rescue", BOB, base="nobody-knows"))
    assert found.against(asks("x", "rescue", BOB, base="n3"))
    assert len(found._applied) == KEPT


def test_a_command_of_an_older_viewer_says_nothing_of_a_revision():
    raw = encode(asks("b", "rescue", BOB)).replace(b', "base_rev": null', b"")
    assert b"base_rev" not in raw
    assert decode(raw).base_rev is None


@pytest.mark.parametrize("odd", [b"7", b'"../x"', b'["a"]', b'"' + 90 * b"a" + b'"'])
def test_a_revision_that_is_none_is_malformed(odd):
    with pytest.raises(CommandError, match="base_rev"):
        decode(encode(asks("b", "rescue", BOB)).replace(b'"base_rev": null', b'"base_rev": ' + odd))
