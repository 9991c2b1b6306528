"""The thread that reads keys sleeps while none come, and wakes for a key, or to leave."""

from __future__ import annotations

import os
import selectors
import threading

from tuimon.viewer.listening import AWAKE, LONGEST, Ear

EACH = 0.1
"""What Textual asks for."""


def test_it_looks_often_only_while_a_key_may_be_half_typed():
    now, ready, waits = [0.0], [set()], []

    class Told(Ear):
        def _select(self, r, w, _, timeout=None):   # the standard library's own hook
            waits.append(timeout)
            return ready[0] & r, set(), set()

    keys, typed = os.pipe()
    ear = Told(lambda: now[0])
    try:
        ear.register(keys, selectors.EVENT_READ)
        for now[0] in (0.0, AWAKE - 0.01, AWAKE, AWAKE + LONGEST):
            assert ear.select(EACH) == []
        assert waits == [EACH, EACH, LONGEST, LONGEST]
        ready[0] = {keys}
        assert [key.fd for key, _ in ear.select(EACH)] == [keys]
        ready[0] = set()
        ear.select(EACH)   # an escape that nothing follows is a key of its own
        assert waits[-1] == EACH
    finally:
        ear.close()
        os.close(keys)
        os.close(typed)


def test_whoever_leaves_wakes_it():
    ear = Ear(iter([0.0, *[2 * AWAKE] * 9]).__next__)
    found = []
    thread = threading.Thread(target=lambda: found.append(ear.select(EACH)), daemon=True)
    thread.start()
    ear.wake()
    thread.join(LONGEST - 1)
    assert found == [[]]
    ear.close()
    ear.wake()   # to nobody


def test_whoever_leaves_slowly_does_not_wait_for_it():
    """Between waking it and telling it to end lies what the terminal still has to answer."""
    now, waits = [0.0], []

    class Told(Ear):
        def _select(self, r, w, _, timeout=None):
            waits.append(timeout)
            return set(), set(), set()

    ear = Told(lambda: now[0])
    ear.wake()
    now[0] = 2 * AWAKE
    ear.select(EACH)
    ear.close()
    assert waits == [EACH]
