"""Which ranks of a run live, and which of them holds the others up."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.record.events import EventWriter
from tuimon.record.joined import Joiner
from tuimon.record.liveness import ProcessIdentity, boot_id, identity
from tuimon.record.log import Row, RowBlock
from tuimon.record.metrics import METRICS
from tuimon.record.paces import COLUMNS, SIZE, Paces
from tuimon.record.patience import Patience
from tuimon.record.ranks import RanksReader
from tuimon.record.reader import segment_paths
from tuimon.record.roster import Ranks, standings
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogWriter
from tuimon.remote.far import joining
from tuimon.remote.far.ranked import Standings, Together

FAR = ProcessIdentity(7, 1.0, "another boot", "node7")
GONE = ProcessIdentity(2**22 - 3, 1.0, boot_id(), os.uname().nodename)
T0 = 1_000_000.0


class Crew:
    """A run of several ranks, as far as each has come."""

    def __init__(self, place: Path, world: int, processes: list[ProcessIdentity]) -> None:
        self.run, self.world = RunDir(place / "run"), world
        self.run.metrics.mkdir(parents=True)
        self.now = T0
        for rank, process in enumerate(processes):
            self.join(rank, process)

    def join(self, rank: int, process: ProcessIdentity, attempt: int = 1) -> None:
        self.run.write_rank(rank, {"rank": rank, "world": self.world, "attempt": attempt, "process": asdict(process),
                                   "device": f"cuda:{rank}"})
        log = LogWriter(self.run.metrics, attempt=attempt, from_step=0, tensors=0, rank=rank, world=self.world)
        log.append([Row(1, self.now, {"loss": 1.0, "own_time": 0.1, "step_time": 0.2})])
        log.close()
        self.sign(rank)

    def sign(self, *ranks: int) -> None:
        for rank in ranks:
            os.utime(segment_paths(self.run.metrics, rank)[-1], (self.now, self.now))

    def end(self, rank: int, state: str, error: str | None = None) -> None:
        events = EventWriter(self.run.events_of(rank), 1)
        events.append("end", 1, self.now, {"state": state, "error": error})
        events.close()

    def ranks(self) -> Ranks:
        self.reader = getattr(self, "reader", None) or RanksReader(self.run.metrics, self.world, clock=lambda: self.now)
        while self.reader.poll():
            pass
        return self.reader.ranks


def told_afar(crew: Crew) -> bytes:
    log = Together(str(crew.run.metrics), list(METRICS), crew.world)
    log.poll()
    return Standings(str(crew.run.path)).told(log)


def states(found: Ranks) -> list[str]:
    return [rank.state for rank in found.ranks]


def test_each_rank_says_who_it_is(tmp_path: Path) -> None:
    found = Crew(tmp_path, 2, [FAR, FAR]).ranks()
    assert [(r.host, r.device, r.step, r.last["step_time"]) for r in found.ranks] == [
        ("node7", "cuda:0", 1, 0.2), ("node7", "cuda:1", 1, 0.2)]
    assert states(found) == ["live", "live"]
    assert found.lost == ()


def test_a_silent_rank_is_shown_within_five_seconds_and_since_when(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 3, [FAR] * 3)
    assert states(crew.ranks()) == ["live"] * 3
    crew.now += 4.5
    crew.sign(0, 2)
    found = crew.ranks()
    assert states(found) == ["live", "silent", "live"]
    assert [rank.rank for rank in found.lost] == [1]
    assert found.ranks[1].since == T0
    crew.sign(1)
    assert states(crew.ranks()) == ["live"] * 3


def test_ranks_of_another_machine_whose_disk_tells_of_them_in_spurts_are_not_silent(tmp_path: Path) -> None:
    """Nor are the others told without them; and who is really silent is found by what was usual of it."""
    crew = Crew(tmp_path, 3, [identity(), FAR, FAR])
    for second in range(1, 40):
        crew.now += 1
        crew.sign(0, *([1, 2] if second % 7 == 0 else []))
        found = crew.ranks()
        assert states(found) == ["live"] * 3, second
        assert found.missing == ()
    for _ in range(14):
        crew.now += 1
        crew.sign(0)
        found = crew.ranks()
    assert states(found) == ["live", "silent", "silent"]


def test_of_ranks_of_another_machine_that_were_never_seen_the_others_there_tell_what_is_usual(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 3, [identity(), FAR, FAR])
    crew.now += 9
    crew.sign(0)
    assert [one.state for one in standings(crew.run, 3, 1, crew.now)] == ["live"] * 3   # alike late: a slow disk
    crew.sign(2)
    assert [one.state for one in standings(crew.run, 3, 1, crew.now)] == ["live", "silent", "live"]
    crew.now += 9
    crew.sign(0)
    assert [one.state for one in standings(crew.run, 3, 1, crew.now)] == ["live", "silent", "live"]
    crew.now += 9
    crew.sign(0)
    assert [one.state for one in standings(crew.run, 3, 1, crew.now)] == ["live", "silent", "silent"]


def test_a_rank_of_this_machine_is_silent_at_once(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 2, [identity(), identity()])
    crew.now += 4.5
    crew.sign(0)
    assert [one.state for one in standings(crew.run, 2, 1, crew.now)] == ["live", "silent"]


@given(st.lists(st.tuples(st.floats(0.1, 3), st.booleans()), max_size=30), st.floats(0, 70), st.floats(0, 20))
def test_the_far_side_has_the_same_patience(looks: list[tuple[float, bool]], age: float, freshest: float) -> None:
    near, far, now, sign = Patience(), joining.Patience(), T0, T0
    for seconds, is_new in looks:
        now += seconds
        sign = now - 0.5 if is_new else sign
        near.saw(sign, now)
        far.saw(sign, now)
    assert near.is_over(age, lambda: freshest) == far.is_over(age, lambda: freshest)


def test_a_process_that_is_gone_has_died_though_its_log_is_fresh(tmp_path: Path) -> None:
    found = Crew(tmp_path, 2, [identity(), GONE]).ranks()
    assert states(found) == ["live", "died"]
    assert [rank.rank for rank in found.lost] == [1]


def test_how_a_rank_ended_is_what_it_said(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 3, [GONE] * 3)
    crew.end(0, "finished")
    crew.end(1, "crashed", "RuntimeError: connection closed")
    crew.now += 60
    found = crew.ranks()
    assert states(found) == ["ended", "crashed", "died"]
    assert found.ranks[1].why == "RuntimeError: connection closed"
    assert [rank.rank for rank in found.lost] == [1, 2]


def test_what_switched_itself_off_on_another_rank_is_said(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 3, [FAR] * 3)
    for rank in (0, 2):
        events = EventWriter(crew.run.events_of(rank), 1)
        events.append("fault", 1, crew.now, {"part": "probes", "error": "OSError: \x1b[31mno"})
        events.close()
    found = crew.ranks()
    assert states(found) == ["live"] * 3
    assert [rank.why for rank in found.ranks] == ["", "", "probes switched itself off: OSError: no"]   # rank 0's are the run's
    afar = [one["why"] for one in json.loads(told_afar(crew))["ranks"]]
    assert afar[:2] == ["", ""]
    assert afar[2].startswith("probes switched itself off: OSError: ")


def test_a_rank_that_has_just_ended_has_not_died(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 2, [GONE] * 2)
    crew.end(0, "finished")
    found = crew.ranks()
    assert states(found) == ["ended", "died"]
    assert [one["state"] for one in json.loads(told_afar(crew))["ranks"]] == ["ended", "died"]


def test_a_rank_that_was_never_there_is_missing_and_so_is_one_that_did_not_come_back(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 3, [FAR, FAR])
    assert states(crew.ranks()) == ["live", "live", "missing"]
    crew.join(0, FAR, attempt=2)
    assert states(crew.ranks()) == ["live", "missing", "missing"]


@pytest.mark.parametrize("told", ["{", "[]", '{"attempt": 1, "process": {"pid": "no"}}', '{"attempt": 1, "host": 7}', '{"attempt": []}'])
def test_what_a_rank_says_may_be_anything(tmp_path: Path, told: str) -> None:
    crew = Crew(tmp_path, 2, [FAR, FAR])
    (crew.run.ranks / "r1.json").write_text(told)
    assert len(crew.ranks().ranks) == 2


def times(world: int, steps: int, slow: dict[int, float], since: int) -> np.ndarray:
    found = np.full((world, steps), 0.1) * (1 + 0.05 * np.random.default_rng(1).standard_normal((world, steps)))
    for rank, factor in slow.items():
        found[rank, since:] *= factor
    return found


def test_the_slow_rank_is_named_with_how_much_and_since_when() -> None:
    paces = Paces(8)
    paces.add(np.arange(400), times(8, 400, {3: 1.8, 5: 1.4}, 200))
    assert [one.rank for one in paces.slow] == [3, 5]
    assert paces.slow[0].times == pytest.approx(1.8, rel=0.05)
    assert abs(paces.slow[0].since - 200) <= SIZE


@pytest.mark.parametrize(("world", "slow"), [(2, [1]), (4, [2, 3]), (16, list(range(8, 16)))])
def test_half_of_the_ranks_are_slow_beside_the_other_half(world: int, slow: list[int]) -> None:
    paces = Paces(world)
    paces.add(np.arange(400), times(world, 400, dict.fromkeys(slow, 1.5), 200))
    assert sorted(one.rank for one in paces.slow) == slow
    assert [one.times for one in paces.slow] == pytest.approx([1.5] * len(slow), rel=0.1)


def test_a_step_that_waits_for_a_checkpoint_makes_no_rank_a_slow_one() -> None:
    own = times(8, 400, {}, 0)
    own[0, ::100] = 20.0
    paces = Paces(8)
    paces.add(np.arange(400), own)
    assert paces.slow == ()


def test_a_rank_that_recovers_is_slow_no_more() -> None:
    own = times(4, 400, {2: 1.8}, 100)
    own[2, 300:] /= 1.8
    paces = Paces(4)
    paces.add(np.arange(290), own[:, :290])
    assert [one.rank for one in paces.slow] == [2]
    paces.add(np.arange(290, 400), own[:, 290:])
    assert paces.slow == ()


def test_how_the_steps_come_in_does_not_matter_and_a_long_run_stays_small() -> None:
    own, steps = times(4, 20_000, {1: 2.0}, 9_000), np.arange(20_000)
    whole, parts = Paces(4), Paces(4)
    whole.add(steps, own)
    for a in range(0, 20_000, 37):
        parts.add(steps[a:a + 37], own[:, a:a + 37])
    assert [(one.rank, one.since) for one in whole.slow] == [(one.rank, one.since) for one in parts.slow]
    (where, strip), (also, same) = whole.strip, parts.strip
    assert (where == also).all()
    assert strip == pytest.approx(same)
    assert len(strip) <= COLUMNS
    assert strip[where > 9_100, 1].min() > 1.3 > strip[where < 8_800, 1].max()


def test_a_rank_that_is_not_measured_is_neither_slow_nor_usual() -> None:
    joiner, steps = Joiner(3), np.arange(64)
    block = RowBlock(steps, steps.astype(float), {"own_time": np.full(64, 0.1)}, {"own_time": np.ones(64, np.bool_)})
    joiner.join([block, block, RowBlock(steps[:0], np.zeros(0), {}, {})])
    strip = joiner.paces.strip[1]
    assert np.isnan(strip[:, 2]).all()
    assert strip[:, :2] == pytest.approx(1.0)
    assert joiner.paces.slow == ()
