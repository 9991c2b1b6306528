"""Lists and `status` tell of a run of several ranks what is known of all of them."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tuimon.cli.runs import as_json
from tuimon.cli.status import as_json as status_json
from tuimon.diagnosis.ranked import headline, straggling
from tuimon.record.catalogue import Catalogue, Entry
from tuimon.record.liveness import ProcessIdentity, identity
from tuimon.record.log import Row, TensorRow
from tuimon.record.lost import lost_words
from tuimon.record.paces import Slow
from tuimon.record.reader import segment_paths
from tuimon.record.roster import Rank, Ranks
from tuimon.record.rundir import RunDir, RunInfo, prepare_run
from tuimon.record.segments import LogWriter
from tuimon.record.status import status
from tuimon.record.together import SKETCHED, sketched

FAR = ProcessIdentity(7, 1.0, "another boot", "node7")
T0 = 1_000_000.0


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    found = RunDir(tmp_path / "run")
    prepare_run(found)
    found.write_info(RunInfo("gpt", identity(), world_size=2, started=T0))
    return found


def write(run: RunDir, rank: int, *rows: Row) -> None:
    run.write_rank(rank, {"rank": rank, "world": 2, "attempt": 0, "process": asdict(FAR)})
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0, rank=rank, world=2)
    log.append(list(rows))
    log.close()
    date(run, rank, T0)


def date(run: RunDir, rank: int, when: float) -> None:
    os.utime(segment_paths(run.metrics, rank)[-1], (when, when))


def listed(run: RunDir) -> Entry:
    (entry,) = Catalogue(run.path.parent).poll(T0, math.inf).entries
    return entry


def test_the_loss_is_that_of_all_ranks_at_the_step_to_which_all_have_come(run: RunDir) -> None:
    write(run, 0, *(Row(s, T0, {"loss": 1.0 * s, "lr": 0.5}) for s in (1, 2, 3)))
    write(run, 1, *(Row(s, T0, {"loss": 3.0 * s}) for s in (1, 2)))
    found = status(run, lambda: T0)
    assert (found.step, found.loss, found.lr, found.world, found.lost) == (2, 4.0, 0.5, 2, ())
    entry = listed(run)
    assert entry.status.loss == 4.0
    assert entry.losses[0] == 2.0


@pytest.mark.parametrize("behind", ["vectors", "signs of life"])
def test_the_loss_is_found_behind_much_else(run: RunDir, behind: str) -> None:
    write(run, 0)
    write(run, 1)
    for rank in range(2):
        log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=5000, rank=rank, world=2)
        for step in range(1, 6 + rank):   # one has come farther
            vector = TensorRow(step, np.ones(5000, np.float32), np.ones(5000, np.bool_), None)
            log.append([Row(step, T0, {"loss": step + rank}), *([vector] if behind == "vectors" else [])])
        for i in range(200 if behind != "vectors" else 0):
            log.beat(T0 + i, T0 + i, "held, and that for a long time by who knows whom")
        log.close()
        date(run, rank, T0)
    assert status(run, lambda: T0).loss == 5.5


def test_a_rank_that_is_not_there_is_named_and_the_others_go_on(run: RunDir) -> None:
    write(run, 0, *(Row(s, T0, {"loss": 1.0}) for s in (1, 2, 3)))
    write(run, 1, Row(1, T0, {"loss": 3.0}))
    date(run, 0, T0 + 6)
    found = status(run, lambda: T0 + 6)
    assert (found.step, found.loss) == (3, 2.0)
    assert found.lost == ((1, "silent"),)
    assert found.is_maimed
    said = status_json(run, found, T0 + 6)["ranks"]
    assert said == {"world": 2, "silent": [1], "missing": [], "died": [], "crashed": []}
    assert json.loads(json.dumps(as_json(listed(run))))["ranks"]["world"] == 2


def test_no_loss_is_told_of_a_rank_that_never_wrote(run: RunDir) -> None:
    write(run, 0, Row(1, T0, {"loss": 1.0}))
    found = status(run, lambda: T0)
    assert (found.step, found.loss, found.lost) == (1, None, ((1, "missing"),))
    assert not found.is_maimed   # attached on some ranks only, as may be meant


def test_the_best_validation_loss_is_the_mean_over_those_that_have_one(run: RunDir) -> None:
    write(run, 0, Row(1, T0, {"val_loss": 4.0}), Row(2, T0, {"val_loss": 1.0}), Row(3, T0, {"val_loss": 3.0}))
    write(run, 1, Row(1, T0, {"val_loss": 4.0}), Row(2, T0, {"val_loss": 9.0}), Row(3, T0, {"val_loss": 3.5}))
    entry = listed(run)
    assert (entry.best_val, entry.best_val_step) == (3.25, 3)


def test_a_sketch_looks_at_few_ranks_of_many() -> None:
    assert sketched(3) == [0, 1, 2]
    assert len(sketched(4096)) == SKETCHED
    assert sketched(4096)[0] == 0


def test_what_is_said_of_ranks() -> None:
    assert lost_words([(3, "died")]) == "rank 3 died"
    assert lost_words([(1, "silent"), (4, "silent"), (0, "died")]) == "rank 0 died, 2 ranks (1, 4) silent"
    assert lost_words([(n, "missing") for n in range(8)]) == "8 ranks (0, 1, 2, 3, 4, 5, ...) missing"
    live = [Rank(n, 5, T0, "live", T0) for n in range(8)]
    assert headline(Ranks(8, tuple(live)), T0) == "8 ranks"
    assert headline(Ranks(8, tuple(live), slow=(Slow(3, 1.8, 1200),)), T0) == "8 ranks, 1 slow"
    live[3] = Rank(3, 5, T0, "silent", T0)
    assert headline(Ranks(8, tuple(live)), T0 + 12) == "rank 3 silent for 12 s"
    assert straggling(Slow(3, 1.8, 1200), "node2") == "rank 3 on node2 is 1.8x slower than the median since step 1,200"
