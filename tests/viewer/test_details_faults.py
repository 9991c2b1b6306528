"""A place whose producer fails costs nothing but itself."""

from __future__ import annotations

from types import SimpleNamespace

from tuimon.viewer import details
from tuimon.viewer.wanted import Wanted


def test_a_place_that_cannot_end_does_not_keep_the_others(monkeypatch):
    ended = []

    class Ending:
        def update(self, *_):
            return None

        def close(self):
            ended.append(1)
            raise ValueError("no end")

    monkeypatch.setattr(details, "PLACES", {name: SimpleNamespace(detail=name, title=name) for name in ("console", "layers")})
    monkeypatch.setattr(details, "loaded", lambda _: Ending)
    producers = details.Details()
    for place in ("console", "layers"):
        producers.of(None, Wanted(place=place), 0.0, 0.0)
    producers.close()
    assert ended == [1, 1]


def test_a_place_that_fails_does_not_keep_the_feed_awake_for_the_one_before(monkeypatch):
    class Behind:
        is_behind = True

        def update(self, *_):
            return "more to come"

    class Failing:
        def update(self, *_):
            raise ValueError("no layers")

    made = {"console": Behind, "layers": Failing}
    monkeypatch.setattr(details, "PLACES", {name: SimpleNamespace(detail=name, title=name) for name in made})
    monkeypatch.setattr(details, "loaded", made.__getitem__)
    producers = details.Details()
    assert producers.of(None, Wanted(place="console"), 0.0, 0.0) == "more to come"
    assert producers.is_behind
    assert producers.of(None, Wanted(place="layers"), 0.0, 0.0) is None
    assert not producers.is_behind
    assert "no layers" in producers.problem
