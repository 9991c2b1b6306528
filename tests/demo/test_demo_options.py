"""Options: what they mean, what is refused, and that they survive the way to the training process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import fields
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.cli import main
from tuimon.demo.options import DemoOptions, parse
from tuimon.errors import UsageError


def test_a_demo_without_options_is_a_lively_explosion_on_this_machine():
    options = parse([])
    assert options == DemoOptions()
    assert (options.scenario, options.total_steps, options.size, options.most_per_second) == ("exploding", 600, "tiny", 12.0)
    assert options.plan.statement.startswith("Learns well for 150 steps")


OPTIONS = st.builds(
    DemoOptions, scenario=st.sampled_from(["healthy", "slow", "exploding"]), seed=st.integers(0, 1 << 40),
    steps=st.none() | st.integers(300, 5000), device=st.sampled_from(["auto", "cpu", "cuda"]),
    size=st.sampled_from(["tiny", "small", "gpt2"]), lr=st.none() | st.floats(1e-12, 10), speed=st.floats(0.1, 1e6),
    headless=st.booleans(), on_critical=st.sampled_from(["warn", "hold", "rescue", "stop"]),
    fail_on=st.sampled_from(["info", "warning", "critical"]), resume=st.none() | st.just("-odd name"),
    rules=st.sampled_from(["tuimon", "notebook"]), run_dir=st.none() | st.just("/a b/-c"),
)


@given(options=OPTIONS)
def test_options_come_back_from_their_own_command_line(options):
    assert parse(options.arguments()) == options


@pytest.mark.parametrize(("line", "said"), [
    (["explode"], "exploding"), (["healthy", "--deep"], "--deep"), (["exploding", "--steps", "100"], "200"),
    (["healthy", "--steps", "0"], "--steps"), (["slow", "--lr", "nan"], "--lr"), (["slow", "--lr=-1"], "--lr"),
    (["slow", "--speed", "0"], "--speed"), (["slow", "--speed", "nan"], "--speed"), (["slow", "--seed=-1"], "--seed"),
    (["slow", "--text", "no such file"], "no such file"),
])
def test_what_cannot_work_is_refused_in_one_line(line, said):
    with pytest.raises(UsageError, match=said) as refused:
        parse(line)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "value"), [("device", "tpu"), ("size", "big"), ("on_critical", "pray"), ("rules", "x")])
def test_options_made_by_hand_are_checked_as_well(name, value):
    with pytest.raises(UsageError, match=value):
        DemoOptions(**{name: value}).check()


def test_every_option_has_an_argument():
    line = DemoOptions(**{f.name: f.default for f in fields(DemoOptions)}).arguments()
    assert line == ["exploding"]


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env})


def test_asking_for_a_demo_loads_neither_torch_nor_textual():
    code = "import tuimon.demo, tuimon.demo.options, tuimon.demo.launch, sys; print({'torch', 'textual'} & set(sys.modules))"
    assert python(code).stdout.strip() == "set()"


def test_public_names_resolve_lazily_and_unknown_ones_are_refused():
    import tuimon.demo

    assert {n: getattr(tuimon.demo, n).__name__ for n in dir(tuimon.demo)} == {n: n for n in tuimon.demo.__all__}
    with pytest.raises(AttributeError, match="Transformer"):
        tuimon.demo.Transformer  # noqa: B018


def test_ending_all_four_asks_every_one_before_it_waits_for_any(monkeypatch, tmp_path):
    met = threading.Barrier(4)

    class Begun:
        run = SimpleNamespace(path=tmp_path)

        def poll(self):
            return None

        def end(self):
            met.wait(20)   # broken unless all four are here

    monkeypatch.setattr("tuimon.demo.launch.launch_all", lambda _: tuple(Begun() for _ in range(4)))
    monkeypatch.setattr("tuimon.viewer.run.check_terminal", lambda: None)
    monkeypatch.setattr("tuimon.viewer.run.watch", lambda run, **options: options["end"]() or 0)
    assert main(["demo", "--all"]) == 0
    assert not met.broken
