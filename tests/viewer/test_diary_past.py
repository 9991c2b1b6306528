"""The story as of a step is what its events tell, however long the run and wherever it was resumed."""

from __future__ import annotations

from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st

from tuimon.diagnosis.story import Story, tell
from tuimon.record.events import Event
from tuimon.viewer import diary
from tuimon.viewer.diary import MILE, Diary


def events(*steps: int) -> list[Event]:
    return [Event(i, 0.0, 1, step, "note", {"text": f"note {i}"}) for i, step in enumerate(steps)]


def filled(told: list[Event]) -> Diary:
    book = Diary()
    for event in told:
        book.take(event)
    return book


@example([40] * 8 + [1] * 8, [5])
@given(st.lists(st.integers(0, 40), max_size=60), st.lists(st.integers(-1, 45), max_size=6))
def test_it_is_the_fold_of_the_events_up_to_that_step(steps, asked):
    with mock.patch.object(diary, "MILE", 8):
        told = events(*steps)
        book = filled(told)
        for step in asked:
            story = Story()
            for event in told:
                if event.step <= step:
                    story = tell(story, event)
            assert book.as_of(step) == story
        assert book.as_of(100) == book.now


def test_a_long_run_is_not_told_from_its_beginning():
    book = filled(events(*range(0, 40 * MILE * 10, 10)))
    with mock.patch.object(diary, "tell", wraps=tell) as told:
        book.as_of(39 * MILE * 10 + 100)
        book.as_of(39 * MILE * 10 + 100)
    assert told.call_count <= MILE


def test_events_that_come_later_are_not_missed():
    book = filled(events(1, 2, 30))
    before = book.as_of(10)
    book.take(events(5)[0])
    assert len(book.as_of(10).lines) == len(before.lines) + 1
