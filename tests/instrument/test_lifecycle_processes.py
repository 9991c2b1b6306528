"""Forks, workers, children and violent ends: only the process that attached records, and what it recorded is right."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import training_loops as loops

import tuimon
from tuimon.record.rundir import RunDir
from tuimon.record.status import status

HERE = Path(__file__).parent
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(tuimon.__file__).parents[1]), str(HERE)])}
START = """
    import os, signal, sys, threading
    import torch
    import training_loops as loops
    import tuimon

    def train(model, opt, steps=3):
        for i in range(steps):
            loops.loss_of(model, loops.batch(i)).backward()
            opt.step()
            opt.zero_grad()

    def attached(run):
        torch.set_num_threads(1)
        model, opt = loops.pair()
        return model, opt, tuimon.attach(model, opt, run_dir=run)
"""


def script(tmp_path: Path, text: str, **options: object) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(START) + textwrap.dedent(text))
    return subprocess.run([sys.executable, "-W", "ignore", str(path)], cwd=tmp_path, env=ENV, text=True, timeout=200,
                          check=False, **({"capture_output": True} | options))  # type: ignore[call-overload]


def ends(run: Path) -> list[tuple[str, str | None]]:
    found = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines() if line]
    return [(e["state"], e["error"]) for e in found if e["kind"] == "end"]


def test_children_of_multiprocessing_record_their_own_runs_and_how_they_ended(tmp_path: Path) -> None:
    """They leave by os._exit, which runs none of Python's exit hooks."""
    done = script(tmp_path, """
        import multiprocessing
        def child(run, how):
            model, opt, monitor = attached(run)
            train(model, opt)
            exec(how)
        if __name__ == "__main__":
            model, opt, monitor = attached("parent")
            train(model, opt)
            for k, how in enumerate(["pass", "raise ValueError('mine')", "sys.exit(3)", "global kept; kept = opt"]):
                process = multiprocessing.get_context("fork").Process(target=child, args=(f"child{k}", how))
                process.start()
                process.join()
            train(model, opt)
    """)
    assert done.returncode == 0, done.stderr
    assert [ends(tmp_path / f"child{k}") for k in range(4)] == [
        [("finished", None)], [("crashed", "ValueError: mine")], [("crashed", "SystemExit: 3")], [("finished", None)]]
    assert all(loops.read(tmp_path / f"child{k}").steps == [1, 2, 3] for k in range(4))
    assert ends(tmp_path / "parent") == [("finished", None)]
    assert loops.read(tmp_path / "parent").steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.nightly),
                                    pytest.param("forkserver", marks=pytest.mark.nightly)])
def test_loader_workers_run_nothing_of_tuimon_and_write_nothing(method: str, tmp_path: Path) -> None:
    done = script(tmp_path, f"""
        from torch.utils.data import DataLoader, Dataset
        class Batches(Dataset):
            def __len__(self):
                return 8
            def __getitem__(self, i):
                assert torch.utils.data.get_worker_info() is not None
                assert all(t.name != "tuimon-writer" for t in threading.enumerate()) or {method!r} == "fork"
                here = [os.readlink(f"/proc/self/fd/{{fd}}") for fd in os.listdir("/proc/self/fd")
                        if os.path.exists(f"/proc/self/fd/{{fd}}")]
                if {method!r} != "fork":
                    assert not any("tlog" in path or "events" in path for path in here), here
                return loops.batch(i)[0]
        if __name__ == "__main__":
            model, opt, monitor = attached("run")
            loader = DataLoader(Batches(), batch_size=2, num_workers=2, persistent_workers=True,
                                multiprocessing_context={method!r})
            for epoch in range(2):
                for tokens in loader:
                    loops.loss_of(model, tokens).backward()
                    opt.step()
                    opt.zero_grad()
            monitor.close()
    """)
    assert done.returncode == 0, done.stderr
    assert loops.read(tmp_path / "run").steps == list(range(1, 9))
    assert loops.read(tmp_path / "run").columns["tokens"] == dict.fromkeys(range(1, 9), 10.0)
    assert ends(tmp_path / "run") == [("finished", None)]


def test_a_process_that_is_killed_or_leaves_at_once_is_shown_as_died_with_its_rows(tmp_path: Path) -> None:
    script(tmp_path, """
        import time
        for k, how in enumerate([lambda: os.kill(os.getpid(), signal.SIGTERM), lambda: os._exit(0)]):
            if os.fork() == 0:
                model, opt, monitor = attached(f"run{k}")
                train(model, opt)
                while monitor._recorder.situation.step < 2:  # the third waits for the fourth
                    time.sleep(0.01)
                how()
        while True:
            try:
                os.wait()
            except ChildProcessError:
                break
    """)
    for k in range(2):
        run = RunDir(tmp_path / f"run{k}")
        assert status(run).state == "died"
        assert ends(run.path) == []
        assert loops.read(run.path).steps == [1, 2]


def test_a_person_at_a_terminal_is_told_how_to_watch_unless_quiet(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    done = script(tmp_path, """
        os.environ["TUIMON_RUNS"] = os.getcwd()
        for quiet in ("", "1"):
            os.environ["TUIMON_QUIET"] = quiet
            model, opt = loops.pair()
            print(tuimon.attach(model, opt).run_dir.name)
    """, stdout=subprocess.PIPE, stderr=slave, capture_output=False)
    os.close(slave)
    said = os.read(master, 4096).decode().strip()
    os.close(master)
    name = done.stdout.split()[0]
    assert said == f"tuimon: recording to {name}; watch it with: tuimon watch {name}"
