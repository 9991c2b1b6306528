"""What a person sees of a run that comes over a link, while it comes: the truth about it, whatever arrives in what order."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pumped import Pumped

from tuimon.viewer.lines import text_of
from tuimon.viewer.reading import Reading

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))
from synthetic import Run, exploding


class Watched:
    """A viewer of what is pumped, which looks after every turn."""

    def __init__(self, root: Path, tmp_path: Path, lag: float = 0.3) -> None:
        self.pumped = Pumped(root, tmp_path / "near", lag=lag)
        self.pumped.until(lambda: self.pumped.mirror is not None and self.pumped.mirror.is_ready, most=800)
        assert self.pumped.mirror is not None
        self.reading = Reading(self.pumped.mirror.run)
        self.frame = self.reading.poll(time.time(), self.pumped.now)
        self.statuses: list[str] = []

    def turn(self, seconds: float = 0.1, turns: int = 1) -> Watched:
        for _ in range(turns):
            self.pumped.turn(seconds, most=800)
            self.frame = self.reading.poll(time.time(), self.pumped.now) or self.frame
            assert self.frame is not None
            self.statuses.append(self.frame.header.status)
        return self

    def settle(self) -> Watched:
        for _ in range(600):
            self.turn(0.03)
            if self.pumped.agent._settled and self.pumped.agent._picture is None:
                break
        return self.turn(turns=20)


def test_a_run_that_is_whole_here_is_judged_here_whatever_picture_came_first(tmp_path: Path):
    run = exploding(root=tmp_path / "far")
    here = Reading(run.dir)
    here.poll(time.time(), 1000.0)
    watched = Watched(tmp_path / "far", tmp_path).settle()
    assert watched.reading.diagnosis.incidents
    assert [i.code for i in watched.reading.diagnosis.incidents] == [i.code for i in here.diagnosis.incidents]


def test_a_run_that_is_silent_is_no_fresher_for_a_finer_picture(tmp_path: Path):
    (tmp_path / "far").mkdir()
    Run(tmp_path / "far", name="old-20260101-000000-abcdef", began=time.time() - 720, step_time=0.1).go(600)
    watched = Watched(tmp_path / "far", tmp_path).settle()
    assert watched.pumped.agent._generation > 1
    assert all(" min" in status for status in watched.statuses), set(watched.statuses)


def test_a_run_that_has_not_begun_is_opened_at_once_and_seen_to_begin(tmp_path: Path):
    run = Run(tmp_path / "far", info=False)
    pumped = Pumped(tmp_path / "far", tmp_path / "near")
    pumped.until(lambda: pumped.mirror is not None and pumped.mirror.is_ready, turns=20)
    watched = Watched(tmp_path / "far", tmp_path / "again")
    assert watched.frame is not None
    assert "Torch is loading" in "\n".join(map(text_of, watched.frame.verdict))
    run.attach()
    run.go(5)
    watched.turn(turns=30)
    assert watched.frame.header.step == 5
