"""Commands on the wire: what goes out comes back, and nothing that comes in does more than raise CommandError."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.control.commands import MAX_BYTES, Command, Who, check, decode, encode
from tuimon.control.states import VERBS
from tuimon.errors import CommandError

_positive = st.floats(min_value=1e-12, max_value=1e12)
_steps = st.integers(min_value=0, max_value=2**40)
_text = st.text(max_size=80).map(lambda s: s.encode("utf-8", "replace").decode())
_ARGS = {
    "rollback": st.fixed_dictionaries({}, optional={"step": _steps}),
    "rescue": st.fixed_dictionaries(
        {}, optional={"step": _steps, "lr_scale": _positive, "max_norm": st.none() | _positive, "warmup": _steps}
    ),
    "set-lr-scale": st.fixed_dictionaries({"scale": _positive}),
    "set-clip": st.fixed_dictionaries({"max_norm": st.none() | _positive}),
}


@st.composite
def commands(draw):
    verb = draw(st.sampled_from(VERBS))
    who = Who(draw(_text), draw(st.integers(-1, 2**31)), draw(_text), draw(st.integers(-1, 2**31)), draw(_text))
    return Command(
        draw(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9-]{0,79}\Z")), verb, draw(_ARGS.get(verb, st.just({}))),
        draw(st.none() | st.integers(0, 10**6)), draw(st.floats(0, 1e12)), draw(st.floats(0, 1e6)), who,
        draw(st.none() | st.just("") | st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9-]{0,79}\Z")),
    )


@given(commands())
def test_every_well_formed_command_survives_the_wire(command):
    raw = encode(command)
    assert len(raw) <= MAX_BYTES
    assert decode(raw) == command


def _only_command_error(raw: bytes) -> None:
    try:
        command = decode(raw)
    except CommandError:
        return
    check(command)


@given(st.binary(max_size=400))
def test_any_bytes_either_decode_or_raise_command_error(raw):
    _only_command_error(raw)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from([10**400, -(10**400), 1e308, float("nan"), "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6,
)


@given(commands(), st.sampled_from(["schema", "id", "verb", "args", "attempt", "issued", "ttl", "who"]), _json)
def test_a_command_with_one_field_replaced_by_anything_only_raises_command_error(command, key, value):
    body = json.loads(encode(command))
    body[key] = value
    _only_command_error(json.dumps(body).encode())


@given(commands(), st.sampled_from(["step", "scale", "max_norm", "lr_scale", "warmup", "user", "uid", "pid"]), _json)
def test_a_command_with_any_argument_or_sender_only_raises_command_error(command, key, value):
    body = json.loads(encode(command))
    body["args"][key] = value
    body["who"][key] = value
    _only_command_error(json.dumps(body).encode())


@given(commands(), st.data())
def test_a_command_with_a_flipped_bit_only_raises_command_error(command, data):
    raw = bytearray(encode(command))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    _only_command_error(bytes(raw))


@pytest.mark.parametrize("raw", [
    b"", b"[", b"null", b"[" * 100_000, b"{" + b'"a":{' * 5000, b"\xff\xfe", b"9" * 5000, b" " * (MAX_BYTES + 1),
    b'{"schema":1}', b'{"schema":1,"id":"a","verb":["pause"],"args":{},"issued":1,"ttl":1,"who":{}}',
])
def test_hostile_bytes_raise_command_error(raw):
    with pytest.raises(CommandError):
        decode(raw)


@pytest.mark.parametrize(("verb", "args"), [
    ("set-lr-scale", {}), ("set-lr-scale", {"scale": 0}), ("set-lr-scale", {"scale": -1.0}),
    ("set-lr-scale", {"scale": float("nan")}), ("set-lr-scale", {"scale": True}), ("set-lr-scale", {"scale": "1"}),
    ("set-lr-scale", {"scale": 10**400}), ("set-clip", {}), ("set-clip", {"max_norm": 0}), ("rollback", {"step": 1.5}),
    ("rollback", {"step": -1}), ("rescue", {"warmup": float("inf")}), ("pause", {"step": 1}), ("explode", {}),
])
def test_what_makes_no_sense_is_refused_before_it_is_sent(verb, args):
    with pytest.raises(CommandError):
        encode(Command("a", verb, args, None, 0.0))


@pytest.mark.parametrize("name", ["", "-", "a" * 81, "a/b", "..", "é", "a b", "a\n", "\ud800"])
def test_an_id_is_plain_letters_digits_and_dashes(name):
    with pytest.raises(CommandError):
        check(Command(name, "pause"))


def test_a_sender_with_text_that_no_file_can_hold_is_still_written_down():
    body = json.loads(encode(Command("a", "pause")))
    body["who"] = {"user": "\ud800x", "uid": True, "host": 7}
    who = decode(json.dumps(body).encode()).who
    assert (who.user, who.uid, who.host) == ("?x", -1, "?")


def test_a_clock_that_jumped_back_does_not_expire_a_command():
    command = Command("a", "pause", issued=1000.0, ttl=10.0)
    assert not command.has_expired(900.0)
    assert not command.has_expired(1010.0)
    assert command.has_expired(1010.5)
