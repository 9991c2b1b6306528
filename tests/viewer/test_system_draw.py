"""The place System as pictures: every size is filled exactly, everything that is said fits, nothing moves by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.diagnosis.axes import XAxis
from tuimon.record.history import thin
from tuimon.viewer.charts.picture import Canvas
from tuimon.viewer.glyphs import ASCII, GLYPHS
from tuimon.viewer.machine.model import Gpu, Gpus, Host, Limits, Process, Sample, Tree
from tuimon.viewer.machine.ring import Traces
from tuimon.viewer.places.system import graphics, traces, words
from tuimon.viewer.places.system.draw import draw
from tuimon.viewer.places.system.layout import listed, plan
from tuimon.viewer.places.system.model import PANELS, Choice, SystemView, ordered
from tuimon.viewer.places.system.panels import Style
from tuimon.viewer.places.system.steps import Part, StepTimes, Trend
from tuimon.viewer.places.system.tables import stacked, step

GB = 2**30
PLAIN, FANCY, EVERYTHING = Style(ASCII), Style(binary=True), Choice()
TIMES = StepTimes(200, 801, 1_000, 0.193, 0.217, (
    Part("data", 0.027, 0.037, 0.14), Part("rest", 0.165, 0.189, 0.853), Part("tuimon", 0.0013, 0.0015, 0.007)), 83_824.0, 5.12)
TREND = Trend("grows", 200, 2.2 * GB, 1.3e5, 501, 996)
HOST = Host((0.5, 0.0, 1.0, 0.25), 20_000.0, 1_000.0, (3.2, 2.94, 2.1), 64 * GB, 12 * GB, 2 * GB, 0, 500 * GB, 120 * GB, 4)
PROCESSES = (Process(4_242, "training", "python", 2.31, 2 * GB, 84, 120, 1_240.0, 1.2e6, 0.0, "running"),
             *(Process(4_250 + i, "data worker", "pt_data_worker", 0.2 + i / 100, GB // 2, 3, 20, 100.0, 2e5, 0.0, "sleeping") for i in range(8)))
TREE = Tree(PROCESSES, 3.1, 3 * GB, 6 * GB, 108, 280, 1_240.0, 2.8e6, 0.0)
H100 = Gpu(0, "NVIDIA H100 80GB HBM3", 0.98, 80 * GB, 61 * GB, 612.0, 700.0, 71.0, 1_755.0, 1_980.0, ("power limit",), ((4_242, 60 * GB),))
HERE = Sample(299.5, "here", "node7", 4_242, TREE, HOST, Limits(8 * GB, 3 * GB, 4.0), Gpus("none"))


def ring(count=300, last=299.5):
    at = last - np.arange(count)[::-1]
    wave = np.sin(at / 30)
    return Traces(at, {"cores": 3 + wave, "cpu": 0.8 + wave / 5, "resident": np.full(count, 3.0 * GB), "memory": np.full(count, 12.0 * GB),
                       "read": 1e6 * (1 + wave), "written": np.zeros(count), "received": np.full(count, 2e4), "sent": np.full(count, 1e3),
                       "gpu 0": np.full(count, 0.98)})


STEPS = np.arange(1, 1_001)
VIEW = SystemView(1, 1, 0, HERE, ring(), TIMES, TREND, thin(STEPS, 2 * GB + 1.3e5 * STEPS, 0, 1_000, 1_024), XAxis(0, 1_000))


def seeing(sample=HERE, **changed):
    return replace(VIEW, sample=replace(sample, **changed))


def text(view=VIEW, width=120, height=38, choice=EVERYTHING, style=FANCY):
    picture = draw(view, choice, width, height, style)
    assert (picture.width, picture.height) == (width, height)
    assert {len(line) for line in picture.lines} == {width}
    return "\n".join(picture.lines)


STATES = {
    "nothing": SystemView(), "whole": VIEW, "gone": seeing(where="gone", tree=None), "late": replace(VIEW, late=7),
    "elsewhere": seeing(Sample(1.0, "elsewhere", "far-away", 7)), "unknown": seeing(where="unknown", tree=None, pid=None),
    "first": replace(VIEW, traces=Traces(), times=StepTimes(), trend=Trend(), curve=None),
    "one gpu": seeing(gpus=Gpus("ok", (H100,))), "no driver": seeing(gpus=Gpus("no-driver", why="version mismatch")),
    "gpus": seeing(gpus=Gpus("ok", (*(replace(H100, index=i) for i in range(7)), Gpu(7, "GPU", lost="fell off the bus")))),
    "silent": seeing(gpus=Gpus("silent", (H100,), waited=4)), "dumb gpu": seeing(gpus=Gpus("ok", (Gpu(0, "GPU"),))),
    "denied": seeing(tree=Tree(tuple(replace(p, files=None, read=None, written=None) for p in PROCESSES), 3.1, GB, GB, 9, None, None, None, None, 3, 9)),
}


@settings(max_examples=150)
@given(state=st.sampled_from(sorted(STATES)), width=st.integers(1, 210), height=st.integers(1, 62), ascii_only=st.booleans(), hidden=st.sets(st.sampled_from(PANELS), max_size=6))
def test_every_state_fills_every_size_exactly(state, width, height, ascii_only, hidden):
    drawn = text(STATES[state], width, height, Choice(frozenset(hidden)), PLAIN if ascii_only else FANCY)
    assert not ascii_only or drawn.isascii()


def test_the_step_as_a_picture():
    assert step(VIEW, (62, 10), FANCY).lines == [
        "╭─ 5 step time ───────────────────────────────────── 193 ms ─╮",
        "│ ▒▒▒▒▒▒▒▒█████████████████████████████████████████████████░ │",
        "│                         median     95 %    share           │",
        "│ ▒ waiting for data       27 ms    37 ms   14.0 %           │",
        "│ █ forward, backward     165 ms   189 ms   85.3 %           │",
        "│ ░ tuimon itself         1.3 ms   1.5 ms    0.7 %           │",
        "│   whole step            193 ms   217 ms                    │",
        "│   5.12 steps/s   83,824 tokens/s   steps 801 to 1,000      │",
        "│   memory grows 124 MiB per 1,000 steps, steps 501 to 996   │",
        "╰────────────────────────────────────────────────────────────╯",
    ]


def test_a_narrow_terminal_shows_the_essentials_in_one_line_each():
    lines = text(width=80, height=22).splitlines()
    assert lines[0].startswith(" pid 4242 on node7 · may use 4 CPUs and 8.0 GiB · no NVIDIA GPU found")
    assert lines[1].startswith(" cpu       3.10 of 4 cores   ") and lines[1].rstrip().endswith("machine 44 %")
    assert lines[2].startswith(" memory    3.0 GiB ") and "machine 12 of 64 GiB" in lines[2]
    assert lines[3].startswith(" disk      ") and "network" in lines[3]
    assert "5 step time" in lines[4] and "7 processes" in lines[14]
    assert "memory grows 124 MiB per 1,000 steps" in lines[12]


def test_a_wide_terminal_shows_each_panel_in_the_order_of_its_digit():
    drawn = text(STATES["one gpu"], 200, 58)
    at = [drawn.index(f" {digit} {name} ") for digit, name in
          enumerate(("cpu", "memory", "disk and network", "GPU 0", "step time", "memory by step", "processes"), 1)]
    assert at == sorted(at)
    assert "slowed by power limit" in drawn and "60 GiB in 1 process" in drawn and "1,755 of 1,980 MHz" in drawn


@pytest.mark.parametrize(("state", "said"), [
    ("nothing", "waiting for a training process"), ("nothing", "waiting for the first steps"), ("gone", "training process 4242 is gone"),
    ("elsewhere", "training runs on host far-away: only what the run logged"), ("late", "not answered for 7 s: these numbers are old"),
    ("denied", "3 more are not looked at"), ("first", "no memory logged so far"), ("silent", "not answering, 4 s"), ("no driver", "the NVIDIA driver cannot be asked: version mismatch"), ("whole", "no NVIDIA GPU found"),
    ("denied", "9 of another user: files and disk traffic are hidden"), ("gpus", "lost: fell off the bus"),
    ("whole", "shared pages counted each time"), ("whole", "optimizer: not measured apart"),
])
def test_what_cannot_be_seen_is_said_in_words(state, said):
    assert said in text(STATES[state], 200, 58)


def test_a_run_that_came_to_its_end_is_not_lamented_and_the_first_line_is_whole_at_80_columns():
    for view, said in ((STATES["gone"], "✝ training process 4242 is gone"),
                       (replace(STATES["gone"], ended=True), "training has ended")):
        first = text(view, 80, 24).splitlines()[0]
        assert said in first and "no NVIDIA GPU found" in first
    assert "gone" not in text(replace(STATES["gone"], ended=True), 120, 38)


def test_of_a_run_on_another_host_only_what_it_logged_is_shown():
    drawn = text(STATES["elsewhere"])
    assert "193 ms" in drawn and "grows 124 MiB" in drawn
    assert "cores" not in drawn and "processes" not in drawn and "GPU" not in drawn
    assert "6 memory by step" in text(STATES["elsewhere"], 80, 22) and "6 memory by step" in text(STATES["gone"], 80, 24)


def test_of_the_past_the_run_is_shown_as_it_was_and_the_machine_is_called_present():
    drawn = text(replace(VIEW, scrubbed=400))
    assert "5 step time · up to step 400" in drawn and "the machine as it is now" in drawn
    assert "as it is now" not in text()


def test_the_missing_package_is_one_calm_line():
    drawn = text(seeing(gpus=Gpus("no-package")))
    assert drawn.count("install tuimon[gpu] to see the GPU") == 1 and "4 GPU" not in drawn


def test_of_the_cores_those_count_that_training_may_use():
    assert "3.10 of 4 cores" in text(seeing(limits=Limits()))
    assert "3.10 of 2.5 cores" in text(seeing(limits=Limits(cpus=2.5)))
    assert "3.10 of 1 core " in text(seeing(limits=Limits(cpus=1.0)))


@pytest.mark.parametrize("state", ["one gpu", "gpus"])
def test_numbers_of_a_driver_that_does_not_answer_look_old(state):
    def roles(view):
        return {run.role for row in draw(view, EVERYTHING, 120, 38, FANCY).rows for run in row if "61" in run.text and "80 G" in run.text}

    gpus = STATES[state].sample.gpus
    assert "note" not in roles(STATES[state])
    assert roles(seeing(gpus=replace(gpus, state="silent", waited=4))) == {"note"}


def test_memory_that_is_nearly_full_is_a_warning_in_words():
    assert "nearly full" not in text()
    assert "▲ nearly full" in text(seeing(limits=Limits(8 * GB, int(7.9 * GB), None)), 200, 58)


def test_a_digit_puts_a_panel_away_and_brings_it_back_and_the_last_one_stays():
    without = Choice().turned(0)
    assert "1 cpu" not in text(choice=without)
    assert without.turned(0) == Choice()
    alone = Choice(frozenset(PANELS) - {"step"})
    assert alone.turned(PANELS.index("step")) == alone
    assert Choice().turned(9) == Choice()


def test_processes_are_ordered_and_scrolled_and_say_which_are_shown():
    first = text(width=80, height=22)
    assert "1–5 of 9" in first
    room = listed(VIEW, EVERYTHING, 80, 22)
    assert (room, listed(VIEW, EVERYTHING.turned(6), 80, 22)) == (5, 0)
    down = Choice().moved(3, 9, room)
    assert "4–8 of 9" in text(width=80, height=22, choice=down)
    assert "5–9 of 9" in text(width=80, height=22, choice=Choice().moved(99, 9, room))
    assert Choice().moved(99, 9, room).moved(-1, 9, room).first == 3
    assert Choice().moved(-3, 9, room).first == 0 == Choice().moved(1, 0, room).first
    assert listed(STATES["denied"], EVERYTHING, 80, 22) == 3   # two lines say what is hidden
    assert "2 more" not in text(STATES["denied"], 80, 22) and "3 more" in text(STATES["denied"], 80, 22)
    by_cpu = down.sorted_next()
    assert (by_cpu.order, by_cpu.first) == ("cpu", 0)
    assert [one.pid for one in ordered(PROCESSES, "cpu")][:2] == [4_242, 4_257]
    assert ordered(PROCESSES, by_cpu.sorted_next().order)[1].pid == 4_250
    assert by_cpu.sorted_next().sorted_next() == Choice()


@given(width=st.integers(40, 200), height=st.integers(8, 60), load=st.floats(0, 1), used=st.integers(0, 64 * GB))
def test_numbers_change_nothing_but_themselves_in_the_layout(width, height, load, used):
    later = seeing(host=replace(HOST, busy=(load,) * 4, memory_used=used))
    assert plan(later, Choice(), width, height) == plan(VIEW, Choice(), width, height)


def test_between_two_seconds_of_one_cell_only_the_newest_cell_changes():
    before, after = ring(400, 300.5), ring(400, 301.5)
    after = Traces(after.times, {name: np.concatenate((values[1:], values[-1:])) for name, values in before.values.items()})
    assert traces.window(300.5, 40) == traces.window(301.5, 40)
    left, right = (traces.levels(found.times, found.of("cores"), 40, 4.0) for found in (before, after))
    assert left[1:-1] == right[1:-1]


def test_over_seconds_that_nobody_looked_at_no_line_is_drawn():
    times = np.concatenate((np.arange(0.0, 60), np.arange(200.0, 300)))
    canvas = Canvas(60, 4)
    traces.draw_trace(canvas, (0, 0, 60, 4), times, np.full(160, 2.0), 4.0, "data", ASCII)
    bottom = canvas.picture().lines[-1]
    assert bottom[:12].strip() and bottom[13:40] == " " * 27 and " " not in bottom[40:60]
    found = traces.levels(times, np.full(160, 2.0), 60, 4.0)
    assert found[:12] == [4] * 12 and set(found[13:40]) == {-1} and set(found[40:60]) == {4}
    seldom = np.arange(0.0, 300, 5)
    assert set(traces.levels(seldom, np.full(60, 1.0), 300, 4.0)[10:290]) == {2}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.integers(4, 200))
def test_the_bar_of_a_step_is_full_and_shows_every_part_that_is_there(shares, width):
    total = sum(shares)
    shares = [share / total for share in shares] if total > 0 else [1.0]
    found = stacked(tuple(Part("rest", 0, 0, share) for share in shares), width)
    assert sum(found) == width
    assert all(cells >= 1 for cells, share in zip(found, shares, strict=True) if share > 0)


@pytest.mark.parametrize(("count", "binary", "said"), [
    (0, True, "0 B"), (999, True, "999 B"), (1_000, True, "0.98 KiB"), (1_024 * 1_024, True, "1.0 MiB"), (3.1 * GB, True, "3.1 GiB"),
    (999.6 * GB, True, "0.98 TiB"), (3.1e9, False, "3.1 GB"), (64e9, False, "64 GB"), (None, True, "–"), (float("nan"), True, "–"),
    (1e30, True, "888178419700125 PiB"),
])
def test_amounts(count, binary, said):
    assert words.amount(count, binary=binary) == said


@given(st.floats(0, 1e17), st.booleans())
def test_an_amount_never_takes_more_cells_than_are_kept_for_it(count, binary):
    assert len(words.amount(count, binary=binary)) <= words.AMOUNT


def test_units_of_a_thousand_where_they_are_wished_for():
    assert "3.2 GB" in text(style=Style()) and "iB" not in text(style=Style())
    assert "3.0 GiB" in text()


@pytest.mark.parametrize(("seconds", "said"), [(0.0004, "0.4 ms"), (0.0213, "21 ms"), (1.824, "1.82 s"), (250.0, "250 s"), (float("nan"), "–")])
def test_times_of_a_step(seconds, said):
    assert words.taken(seconds) == said


def test_the_axis_of_cores_and_bytes_ends_on_round_numbers():
    assert traces.top_of_cores(0.2, 16) == 1 and traces.top_of_cores(3.4, 16) == 4 and traces.top_of_cores(15.0, 14) == 14
    assert traces.top_of_bytes(3.1 * GB, binary=True) == 4 * GB and traces.top_of_bytes(0) == 1_000 and traces.top_of_bytes(3.1e9) == 4e9


def test_what_the_cpu_chart_shows_is_named_beside_it_by_colour_and_shape():
    picture = draw(VIEW, EVERYTHING, 120, 38, FANCY)
    named = {run.text.strip(): run.role for row in picture.rows for run in row if run.text.strip() in {"█", "run", "─machine"}}
    assert named == {"█": "data", "run": "data", "─machine": "data-dim"}


@pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=GLYPHS)
def test_a_hill_and_an_outline_look_different(glyphs):
    times, looks = np.arange(60.0), []
    for filled in (True, False):
        canvas = Canvas(20, 5)
        traces.draw_trace(canvas, (0, 0, 20, 5), times, np.full(60, 0.9), 1.0, "data", glyphs, filled=filled)
        looks.append(["".join(run.text for run in row).strip() != "" for row in canvas.picture().rows])
    assert looks == [[True] * 5, [True] + [False] * 4]


def several(count: int) -> SystemView:
    """A node whose fourth GPU is ours, whose third is slowed, and whose last is lost."""
    gpus = tuple(Gpu(i, "H100", 0.9, 80 * GB, 61 * GB, 612.0, 700.0, 71.0, 1_755.0, 1_980.0, ("power limit",) * (i == 2),
                     ((4_242, 60 * GB),) if i == 3 else (), "gone from the bus" * (i == count - 1)) for i in range(count))
    return seeing(gpus=Gpus("ok", gpus))


@pytest.mark.parametrize("count", [2, 8, 16])
@pytest.mark.parametrize(("width", "height"), [(58, 9), (58, 4), (66, 12), (100, 30)])
def test_of_several_gpus_those_that_matter_are_shown_and_the_others_are_counted(count, width, height):
    lines = graphics.gpu(several(count), (width, height), FANCY).lines
    assert f"{count} x H100" in lines[0]
    shown = [int(line[3:6]) for line in lines[2:-1] if line[3:6].strip().isdigit()]
    assert shown == sorted(shown)
    hidden = count - len(shown)
    assert hidden == 0 or f"{hidden} more" in lines[-2]
    assert len(shown) < 3 or {2, 3, count - 1} & set(range(count)) <= {*shown}

def test_at_40_columns_the_times_of_a_step_are_whole():
    rows = [line for line in text(VIEW, 40, 20).splitlines() if "forward, backward" in line or "median" in line]
    assert [line.split()[-2] for line in rows[1:]] == ["%"] and rows[0].split()[-2] == "share"
    assert "…" not in "".join(rows)
    assert "median" not in text(VIEW, 40, 8)   # headings of nothing
    processes = text(VIEW, 40, 20).splitlines()[-5:-1]
    assert len(processes[0].split()) > 4 and not any(line.endswith("… │") for line in processes)
