"""What every test of the panel gets."""

from __future__ import annotations

import pickle

import pytest

from tuimon.viewer.feed import Feed


@pytest.fixture(autouse=True)
def _through_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames and wishes go through what they go through in the real program, where another process reads."""
    take, want = Feed.take, Feed.want
    monkeypatch.setattr(Feed, "take", lambda self: pickle.loads(pickle.dumps(take(self))))
    monkeypatch.setattr(Feed, "want", lambda self, wanted: want(self, pickle.loads(pickle.dumps(wanted))))
