"""The demo without a screen, and what its exit status means."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from tuimon.demo.launch import launch
from tuimon.demo.options import DemoOptions
from tuimon.errors import UsageError
from tuimon.launch.headless import Following, attend, last_line, print_json, reaches
from tuimon.record.printing import mention


def run(options: DemoOptions, out: TextIO | None = None, err: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic) -> int:
    """Run one demo to its end. Exit status: 3 where an open incident reaches --fail-on, else 0.

    Ctrl+C, SIGTERM and SIGHUP end the run: 130, 143, 129. UsageError where the training process refused to start, 1
    where it broke. Touches the disk and starts a process.
    """
    out, err = out or sys.stdout, err or sys.stderr
    started = launch(options)
    following = Following(started.run, options.rules)
    ended = attend(started, following, err, clock)
    if following.steps == 0 and ended.status == 2:
        raise UsageError(last_line(started.run).removeprefix("tuimon: ") or "the training process refused to start")
    print_json(following.result(), out)
    if ended.interrupted:
        return ended.interrupted
    if ended.status != 0 and following.state != "stopped":
        words = last_line(started.run)
        how = f"ended with {ended.status}" if ended.status > 0 else f"was killed by signal {-ended.status}"
        mention(f"the training process {how}" + (f": {words}" if words else ""), err)
        return 1
    return 3 if reaches(following.diagnosis, options.fail_on) else 0
