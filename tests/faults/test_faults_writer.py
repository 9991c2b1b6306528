"""The thread that writes meets an error that nobody has foreseen: the rest of the run is recorded all the same."""

from __future__ import annotations

import pytest
from steering_parts import rig, wait_for

from tuimon.record.events import EventReader
from tuimon.torture.faulty import FaultyOS


class Strange(FaultyOS):
    """Fails as no disk fails."""

    def _raised(self):
        return self.error("strange")


@pytest.mark.parametrize("error", [pytest.param(MemoryError, marks=pytest.mark.nightly), ZeroDivisionError])
def test_whichever_operation_meets_an_unforeseen_error_the_rest_of_the_run_is_recorded(tmp_path, error):
    first, files = 0, FaultyOS()
    while files.calls >= first:
        first += 1
        files = Strange({first}, error, durable=False)
        with rig(tmp_path, files=files) as run:
            for step in range(10, 60, 10):
                run.train(step)
                run.judged(step)
            run.close()
            log = run.log()
            steps = [int(s) for c in log.poll() for s in c.steps]
            missing = 50 - len(steps)
            assert missing <= sum(gap["dropped"] for gap in log.gaps) <= (0 if error is MemoryError else 1), first
            assert steps == sorted(set(steps))
            told = [e.kind for e in EventReader(run.run.events).poll()]
            assert set(told) >= ({"attempt", "end"} if error is MemoryError else set()), first
            assert len({"attempt", "end"} - set(told)) <= 1
    assert first > 12


def test_a_thread_whose_turns_all_fail_gives_up_and_lets_a_held_run_go(tmp_path, caplog):
    with rig(tmp_path) as run:
        run.train(5)
        run.recorder._writer.step_once = lambda: 1 / 0
        wait_for(lambda: not run.recorder.is_attended, "the end of the thread")
        run.train(200)
        run.recorder.order("hold", "test")
        run.train(210)
        assert run.steering.state == "running"
    assert "training goes on" in caplog.text
