"""The panel over synthetic runs: what stands on the screen, and what keys do."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
import types
from collections.abc import AsyncIterator, Callable

import pytest
import synthetic
from textual.pilot import Pilot

from tuimon.control.commands import Command
from tuimon.record.rundir import RunDir
from tuimon.viewer.app import Tuimon
from tuimon.viewer.feed import Feed
from tuimon.viewer.glyphs import ASCII, BRAILLE, GlyphSet
from tuimon.viewer.messages import OpenRun, ScrubTo

SIZES = [(80, 24), (120, 40), (200, 60)]


def screen(app: Tuimon) -> str:
    """The text on the screen, dialogs included."""
    return "\n".join("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())


class Panel:
    def __init__(self, app: Tuimon, pilot: Pilot[str], run: synthetic.Run) -> None:
        self.app, self.pilot, self.run = app, pilot, run

    @property
    def text(self) -> str:
        return screen(self.app)

    async def until(self, what: str | Callable[[str], object], seconds: float = 10.0) -> str:
        deadline = time.monotonic() + seconds
        holds = (lambda text: what in text) if isinstance(what, str) else what
        while not holds(self.text):
            assert time.monotonic() < deadline, f"waited for {what!r}:\n{self.text}"
            await self.pilot.pause(0.01)
        return self.text

    async def commands(self, count: int) -> list[object]:
        deadline = time.monotonic() + 10
        found: list[object] = []
        while len(found) < count:
            found += self.run.commands()
            assert time.monotonic() < deadline, f"{count} commands expected, not {found}"
            await self.pilot.pause(0.01)
        return found


@contextlib.asynccontextmanager
async def panel(run: synthetic.Run, size: tuple[int, int] = (120, 40), *, owner: bool = False,
                glyphs: GlyphSet = BRAILLE, rules: str = "tuimon") -> AsyncIterator[Panel]:
    app = Tuimon(run.dir.name, lambda ready: Feed(run.dir, ready, period=0.1, rules=rules), glyphs=glyphs, owner=owner)
    async with app.run_test(size=size) as pilot:
        yield Panel(app, pilot, run)


def has_charts(text: str) -> bool:
    return re.search(r"[⠁-⣿]{6}", text) is not None


@pytest.mark.parametrize("size", SIZES)
async def test_a_healthy_run_is_quiet_and_says_so(size):
    async with panel(synthetic.healthy(), size) as p:
        await p.until("● Healthy")
        text = await p.until(lambda t: has_charts(t) and "blocks.3" in t)
        for word in ("healthy", "240/600", "● LIVE", "LOSS", "GRADIENTS", "grad norm", "update ratio", "q quit"):
            assert word in text
        assert size[0] < 120 or "◌ VALIDATION –" in text
        for alarm in ("✖", "▲", "exploding gradients"):
            assert alarm not in text


@pytest.mark.parametrize("size", SIZES)
async def test_an_exploding_run_says_what_since_when_where_and_which_key(size):
    async with panel(synthetic.exploding(), size) as p:
        text = await p.until("✖ Exploding gradients")
        text = await p.until(lambda t: has_charts(t) and "352" in t)
        assert re.search(r"since (step )?20\d", text)
        assert "352 ✖" in text
        assert re.search(r"r +(roll )?back to step 170", text)
        assert "x  hold the run" in text
        assert "✖ GRADIENTS" in text


@pytest.mark.parametrize("size", SIZES)
async def test_the_five_ticks_of_a_rescue_are_shown_with_step_and_number(size):
    run = synthetic.exploding().rescue(warm=False).go(12)
    async with panel(run, size) as p:
        text = await p.until("◐ Rescue")
        text = await p.until("12/20")
        for tick in (r"✓ held (at )?260", r"✓ (restored|back to) 190", r"✓ lr x0\.1", r"✓ clip 1\.0", r"◐ warm"):
            assert re.search(tick, text), tick
        assert "Overrides in force: lr x0.1, clip 1.0" in text


async def test_after_the_rescue_the_run_is_healthy_again():
    async with panel(synthetic.rescued()) as p:
        text = await p.until("● Healthy again")
        assert "the rescue at 260 worked" in text
        assert "Overrides in force: lr x0.1, clip 1.0" in text


@pytest.mark.parametrize(("key", "title", "verb", "args"), [
    ("space", "Pause this run?", "pause", {}), ("x", "Hold this run?", "hold", {}),
    ("c", "Write a checkpoint?", "checkpoint", {}), ("k", "End this run?", "stop", {}),
    ("r", "Rescue this run?", "rescue", {"step": 170, "lr_scale": 0.1, "max_norm": 1.0, "warmup": 20}),
])
async def test_a_confirmed_key_puts_exactly_its_command_into_the_spool(key, title, verb, args):
    async with panel(synthetic.exploding()) as p:
        await p.until("Exploding")
        await p.pilot.press(key)
        await p.until(title)
        await p.pilot.press("y")
        (command,) = await p.commands(1)
        assert isinstance(command, Command)
        assert (command.verb, dict(command.args), command.attempt) == (verb, args, 1)
        assert command.who.pid > 0
        await p.until(f"◌ {verb} requested")


@pytest.mark.parametrize("answer", ["n", "escape", "enter", "ctrl+c"])
async def test_every_other_answer_sends_nothing_and_the_harmless_one_has_the_focus(answer):
    async with panel(synthetic.exploding()) as p:
        await p.until("Exploding")
        await p.pilot.press("r")
        text = await p.until("Rescue this run?")
        assert "3.0e-2 → 3.0e-3" in text
        assert "90 steps since are given up" in text
        assert "this script does not clip" in text
        await p.pilot.press(answer)
        await p.until(lambda t: "Rescue this run?" not in t)
        assert "requested" not in p.text
        assert p.run.commands() == []


async def test_a_request_stays_a_request_until_the_run_answers():
    async with panel(synthetic.exploding()) as p:
        await p.until("Exploding")
        await p.pilot.press("x")
        await p.until("Hold this run?")
        await p.pilot.press("y")
        (command,) = await p.commands(1)
        await p.until("◌ hold requested")
        assert "HELD" not in p.text
        p.run.event("command", id=command.id, verb="hold", args={}, who={}, outcome="applied", why="")
        p.run.hold()
        text = await p.until("◼ HELD")
        assert "◌ hold" not in text
        assert "Held at step 260" in text
        assert re.search(r"r +rescue: back to step 170.* space +go on as it is +k +end it", text)
        assert "hold applied" in text


async def test_an_order_says_on_which_picture_it_was_confirmed_not_what_came_while_the_question_stood():
    def applied(command: str) -> None:
        p.run.event("command", id=command, verb="set-clip", args={}, who={}, outcome="applied", why="")

    async with panel(synthetic.exploding()) as p:
        await p.until("Exploding")
        applied("seen")
        await p.until("set-clip applied")
        await p.pilot.press("r")
        await p.until("Rescue this run?")
        applied("unseen")
        await p.until(lambda _: p.app._frame.facts.revision == "unseen")
        await p.pilot.press("y")
        (command,) = await p.commands(1)
        assert command.base_rev == "seen"


async def test_a_refusal_is_shown_with_its_reason():
    async with panel(synthetic.exploding()) as p:
        await p.until("Exploding")
        p.run.event("command", id="a1", verb="rescue", args={}, who={}, outcome="refused", why="the snapshot is damaged")
        text = await p.until("✖ rescue refused")
        assert "the snapshot is damaged" in text


async def test_held_and_paused_runs_go_on_with_space():
    async with panel(synthetic.exploding().hold()) as p:
        await p.until("Held at step 260")
        await p.pilot.press("space")
        text = await p.until("Go on as it is?")
        assert "What was wrong is still wrong" in text
        await p.pilot.press("y")
        (command,) = await p.commands(1)
        assert command.verb == "resume"


async def test_undo_is_refused_in_words_while_nothing_is_overridden():
    async with panel(synthetic.healthy()) as p:
        await p.until("Healthy")
        await p.pilot.press("u")
        await p.until("no override is in force")
        assert p.run.commands() == []


async def test_undo_says_what_the_learning_rate_becomes():
    run = synthetic.rescued().values(loss=2.0, grad_norm=1.0, update_ratio=1.2e-3, lr=3e-5, lr_scheduled=3e-4)
    async with panel(run) as p:
        await p.until("Healthy again")
        await p.pilot.press("u")
        await p.until("3.0e-5 → 3.0e-4")
        await p.pilot.press("y")
        assert [c.verb for c in await p.commands(1)] == ["undo-overrides"]


async def test_a_killed_run_has_died_and_takes_no_commands():
    async with panel(synthetic.exploding(alive=False)) as p:
        text = await p.until("✝ died")
        assert "Died at step 260" in text
        assert "LIVE" not in text
        await p.pilot.press("r")
        await p.until("the run has died")
        assert p.run.commands() == []


@pytest.mark.parametrize(("state", "word"), [("finished", "✓ Finished"), ("stopped", "◼ Stopped"), ("crashed", "✖ Crashed")])
async def test_an_ended_run_says_how_it_ended(state, word):
    async with panel(synthetic.healthy().end(state, "RuntimeError: out of [memory]" if state == "crashed" else "")) as p:
        text = await p.until(word)
        assert ("out of [memory]" in text) == (state == "crashed")


async def test_nan_is_shown_as_evidence():
    run = synthetic.healthy(100).values(loss=float("nan"), grad_norm=float("inf"), lr=3e-4)
    async with panel(run) as p:
        text = await p.until(lambda t: re.search(r"NaN ✖", t))
        assert "inf ✖" in text
        await p.until(lambda t: "✗" in t)


HOSTILE = "x[/red]\x1b]52;c;aGFja2Vk\x07[@click=app.quit]\x9b31m\u202egpj.[bold"


async def test_text_from_outside_is_text_and_nothing_else():
    run = synthetic.Run(name=HOSTILE, statement=HOSTILE).go(60).note(HOSTILE).go(5)
    async with panel(run) as p:
        text = await p.until("x[/red][@click=app.quit]gpj.[bold")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        await p.pilot.press("k")
        await p.until("End this run?")
        await p.pilot.press("escape", "q")


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (39, 10), (40, 10), (60, 16), (80, 20), (99, 31), (100, 32), (300, 90)])
async def test_every_size_shows_the_verdict_or_says_that_it_is_too_small(size):
    async with panel(synthetic.exploding(), size) as p:
        if size[0] >= 40:
            await p.until("Exploding")
            await p.until(lambda t: "step" in t)
        else:
            await p.pilot.pause()
        await p.pilot.resize_terminal(120, 40)
        await p.until("Exploding gradients")
        await p.until(has_charts)
        await p.pilot.resize_terminal(*size)
        await p.pilot.pause()


async def test_an_ascii_terminal_gets_ascii_only():
    async with panel(synthetic.exploding(), glyphs=ASCII) as p:
        await p.until("X Exploding gradients")
        text = await p.until(lambda t: "352 X" in t)
        assert text.isascii(), {c for c in text if not c.isascii()}


async def test_digits_show_and_hide_panels_enter_enlarges_one_and_y_turns_its_axis():
    async with panel(synthetic.exploding()) as p:
        await p.until(lambda t: "grad norm · log" in t and has_charts(t))
        await p.pilot.press("4", "7")
        text = await p.until(lambda t: "learning rate ─" not in t and "layers ·" not in t)
        assert "update ratio" in text
        await p.pilot.press("4", "7", "tab", "enter")
        text = await p.until(lambda t: "learning rate ─" not in t and "loss ·" not in t)
        assert "grad norm · log" in text
        await p.pilot.press("y")
        await p.until(lambda t: "grad norm" in t and "grad norm · log" not in t)
        await p.pilot.press("plus")
        await p.until("smooth 0.6")
        await p.pilot.press("minus", "escape")
        await p.until("learning rate ─")


@pytest.mark.parametrize(("size", "charts"), [((120, 40), 4), ((200, 60), 6), ((250, 70), 6)])
async def test_a_larger_terminal_shows_more_and_every_panel_hidden_leaves_the_verdict(size, charts):
    titles = ("loss · v", "grad norm · log ─", "update ratio · log ─", "learning rate ─", "throughput ─", "memory ─")
    async with panel(synthetic.exploding(), size) as p:
        await p.until(lambda t: has_charts(t) and sum(title in t for title in titles) == charts)
        for digit in "1234567"[:charts]:
            await p.pilot.press(digit)
        await p.pilot.press("7")
        text = await p.until(lambda t: not any(title in t for title in titles) and "layers ·" not in t)
        assert "Exploding gradients" in text


async def test_the_crosshair_reads_every_chart_at_the_same_step_and_escape_takes_it_away():
    run = synthetic.exploding()
    async with panel(run) as p:
        await p.until(lambda t: "352 ✖" in t and has_charts(t))
        await p.pilot.press("left", "left", "shift+left")
        text = await p.until(" at 227 ─")
        assert len(re.findall(r" at 227[ ,]", text)) == 4
        await p.pilot.press("escape")
        await p.until("352 ✖")


async def test_zoom_shows_fewer_steps_in_every_chart_until_all_are_wanted_again():
    async with panel(synthetic.healthy(800, total=900)) as p:
        await p.until(lambda t: has_charts(t) and "800" in t)
        await p.pilot.press("z", "z")
        text = await p.until(lambda t: not re.search(r"^│ +0 ", t, re.MULTILINE) and "700" in t)
        assert "700" in text
        await p.pilot.press("0")
        await p.until(lambda t: re.search(r"│ +0  ", t))
        await p.pilot.press("f")
        await p.until("650")


async def test_back_in_time_the_whole_panel_is_as_it_was_and_keys_still_act_on_the_run_as_it_is():
    run = synthetic.rescued()
    async with panel(run) as p:
        await p.until("Healthy again")
        await p.pilot.press("left_curly_bracket")
        for _ in range(12):
            if "Exploding gradients" in p.text:
                break
            await p.pilot.press("left_curly_bracket")
            await p.pilot.pause(0.05)
        text = await p.until(lambda t: "steps ago" in t and "Exploding gradients" in t)
        assert "the rescue at 260" not in text
        assert "roll back" not in text
        assert "esc back to now" in text
        await p.pilot.press("x")
        await p.until("now at step 340")
        await p.pilot.press("escape", "escape")
        text = await p.until("Healthy again")
        assert "ago" not in text


async def test_a_finished_run_is_replayed_from_its_first_step_faster_on_demand_to_its_end():
    async with panel(synthetic.healthy(step_time=2.0).end()) as p:
        await p.until("Finished")
        await p.pilot.press("p")
        text = await p.until("▸ 20x ")
        assert "Finished" not in text
        for _ in range(8):
            await p.pilot.press("greater_than_sign")
        await p.until(lambda t: "▸ 1000x " in t or "Finished" in t)
        await p.until("Finished")


async def test_a_small_screen_shows_the_chart_that_the_verdict_is_about_until_another_is_chosen():
    async with panel(synthetic.exploding(), (80, 24)) as p:
        await p.until("─ grad norm · log ─")
        await p.pilot.press("tab")
        await p.until("─ update ratio · log ─")
        await p.pilot.press("4")
        await p.until("─ learning rate ─")


async def test_q_in_watch_detaches_at_once():
    async with panel(synthetic.healthy()) as p:
        await p.until("Healthy")
        await p.pilot.press("q")
        await p.pilot.pause()
        assert p.app.return_value == "leave"


@pytest.mark.parametrize(("answer", "result"), [("l", "leave"), ("e", "end")])
@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_q_in_a_demo_asks_what_becomes_of_it(key, answer, result):
    async with panel(synthetic.healthy(), owner=True) as p:
        await p.until("Healthy")
        await p.pilot.press(key)
        text = await p.until("leave it running")
        assert "end it" in text
        await p.pilot.press("escape")
        await p.until(lambda t: "leave it running" not in t)
        await p.pilot.press(key)
        await p.until("leave it running")
        await p.pilot.press(answer)
        await p.pilot.pause()
        assert p.app.return_value == result


@pytest.mark.parametrize("is_live", [True, False])
async def test_q_over_another_run_asks_about_the_one_that_was_started_here(is_live):
    own, other = synthetic.healthy(), synthetic.exploding() if is_live else synthetic.exploding().end()

    def opened(path):
        return path.name, lambda ready: Feed(RunDir(path), ready, period=0.1)

    app = Tuimon(*opened(own.dir.path), glyphs=BRAILLE, owner=True, opener=opened)
    async with app.run_test(size=(120, 40)) as pilot:
        p = Panel(app, pilot, own)
        await p.until("Healthy")
        app.post_message(OpenRun(other.dir.path))
        await p.until("Exploding gradients")
        await pilot.press("q")
        assert "healthy was started with this screen" in await p.until("Leave this run?")
        await pilot.press("escape")
        app.post_message(OpenRun(own.dir.path))
        await p.until("Healthy")
        await pilot.press("q")
        assert "healthy is at step 240" in await p.until("Leave this run?")


async def test_a_demo_that_has_ended_is_left_without_a_question():
    async with panel(synthetic.healthy().end(), owner=True) as p:
        await p.until("Finished")
        await p.pilot.press("q")
        await p.pilot.pause()
        assert p.app.return_value == "leave"


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (120, 40), (200, 60)])
async def test_help_lists_every_key_of_the_screen_on_as_many_pages_as_it_takes(size):
    from tuimon.viewer.actions import actions_at

    async with panel(synthetic.healthy(), size) as p:
        await p.until("ealthy")
        await p.pilot.press("question_mark")
        seen = await p.until("q back")
        for _ in range(20):
            await p.pilot.press("pagedown")
            seen += p.text
        for action in actions_at("overview"):
            assert f"{action.shown}  {action.help.split()[0]}" in seen
        assert "onset ╷ event" in " ".join(seen.split())
        await p.pilot.press("escape")
        await p.until(lambda t: "q back" not in t)


async def test_the_panel_leaves_within_two_seconds_with_its_feed():
    import threading

    async with panel(synthetic.healthy()) as p:
        await p.until("Healthy")
        before = time.monotonic()
    assert time.monotonic() - before < 2
    assert not [t for t in threading.enumerate() if t.name == "tuimon-feed"]


def test_a_whole_session_of_the_panel_never_loads_torch():
    import subprocess
    import sys
    from pathlib import Path

    code = (
        "import asyncio, sys, synthetic\n"
        "from tuimon.viewer.app import Tuimon\nfrom tuimon.viewer.feed import Feed\n"
        "from tuimon.viewer.glyphs import BRAILLE\n"
        "run = synthetic.exploding()\n"
        "app = Tuimon('x', lambda ready: Feed(run.dir, ready, period=0.1), glyphs=BRAILLE)\n"
        "async def main():\n"
        "    async with app.run_test(size=(120, 40)) as pilot:\n"
        "        while app.current.tone != 'critical':\n"
        "            await pilot.pause(0.01)\n"
        "asyncio.run(main())\n"
        "assert not {'torch', 'plotext'} & set(sys.modules)\n"
    )
    here = Path(__file__).resolve()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
                          cwd=here.parents[2], env={**__import__("os").environ, "PYTHONPATH": f"{here.parent}:."})
    assert done.returncode == 0, done.stderr


async def test_a_loss_that_spans_decades_turns_its_own_axis_and_y_has_the_last_word():
    run = synthetic.healthy(60)
    async with panel(run) as p:
        assert "loss · log" not in await p.until(has_charts)
        for loss in (8.0, 130.0, 90.0, 3.0):
            run.values(loss=loss, grad_norm=1.0, update_ratio=1e-3, lr=3e-4)
        await p.until("loss · log")
        await p.pilot.press("tab", "y")
        await p.until(lambda text: "loss · log" not in text)
        run.values(loss=900.0, grad_norm=1.0, update_ratio=1e-3, lr=3e-4)
        assert "loss · log" not in await p.until("65/600")
        await p.pilot.press("y")
        await p.until("loss · log")


@pytest.mark.parametrize("key", ["space", "x", "r", "c", "k", "q"])
async def test_on_a_small_screen_a_dialog_leaves_the_verdict_readable_and_all_its_words_visible(key):
    async with panel(synthetic.exploding(), (80, 24), owner=True) as p:
        await p.until(lambda text: "Exploding gradients" in text and has_charts(text))
        await p.pilot.press(key)
        text = await p.until("?  ")
        assert "Exploding gradients" in text
        assert re.search(r"r +back to step 170", text)
        assert "╰──" in text.splitlines()[-1]


async def test_leaving_a_held_run_does_not_promise_that_it_goes_on():
    async with panel(synthetic.exploding().hold(), owner=True) as p:
        await p.until("Held at step 260")
        await p.pilot.press("q")
        text = await p.until("leave it held")
        assert "Left held, it waits in memory" in text
        assert "running" not in text


async def test_a_picture_of_the_screen_is_saved_beside_the_last_one_and_its_place_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    async with panel(synthetic.exploding()) as p:
        await p.until(lambda text: "Exploding gradients" in text and has_charts(text))
        await p.pilot.press("ctrl+s")
        await p.until("saved as exploding-step-260.svg in")
        await p.pilot.press("ctrl+s")
        await p.until("saved as exploding-step-260-2.svg in")
    first = (tmp_path / "exploding-step-260.svg").read_text()
    assert first.startswith("<svg") and "Exploding" in first
    assert len(list(tmp_path.iterdir())) == 2


async def test_a_picture_of_the_past_has_the_step_that_it_shows_in_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    async with panel(synthetic.exploding()) as p:
        await p.until("Exploding gradients")
        p.app.post_message(ScrubTo(100))
        await p.until("As it was at step 100")
        await p.pilot.press("ctrl+s")
        await p.until("saved as exploding-step-100.svg in")


async def test_a_moment_that_a_resumed_run_has_not_reached_again_is_left_for_the_present():
    async with panel(synthetic.healthy()) as p:
        await p.until("Healthy")
        p.app.post_message(ScrubTo(200))
        await p.until("As it was at step 200")
        p.run.resume(100).go(20)
        await p.until("step 120/600")
        await p.until(lambda text: "As it was" not in text and "● LIVE" in text)
        p.run.go(100)
        await p.until("step 220/600")
        assert "As it was" not in p.text

async def test_while_a_picture_is_drawn_keys_and_frames_go_on(tmp_path, monkeypatch):
    drawn = threading.Event()

    def svg_to_bytes(**_):
        assert drawn.wait(20)
        return b"png"

    monkeypatch.setitem(sys.modules, "resvg_py", types.SimpleNamespace(svg_to_bytes=svg_to_bytes))
    monkeypatch.chdir(tmp_path)
    async with panel(synthetic.healthy()) as p:
        await p.until("Healthy")
        await p.pilot.press("ctrl+s")
        p.run.go(7)
        await p.pilot.press("m")
        await p.until(lambda t: "step time" in t and "247/600" in t)
        drawn.set()
        await p.until("picture: saved as")


async def test_a_picture_that_cannot_be_saved_is_said_and_harms_nothing(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    async with panel(synthetic.healthy()) as p:
        await p.until("Healthy")
        await p.pilot.press("ctrl+s")
        await p.until("it could not be saved here")


async def test_the_palette_finds_by_a_few_letters_and_does_what_the_key_does():
    async with panel(synthetic.exploding()) as p:
        await p.until(lambda t: "Exploding gradients" in t and has_charts(t))
        await p.pilot.press("ctrl+p")
        text = await p.until("emergency stop")
        assert "write a checkpoint" in text
        await p.pilot.press(*"rescue")
        await p.pilot.press("escape")
        await p.until(lambda t: "emergency stop" not in t)
        await p.pilot.press("ctrl+p", *"emergency", "enter")
        await p.until("Hold this run?")
        await p.pilot.press("n", "ctrl+p", *"logarithmic", "enter")
        await p.until(lambda t: "grad norm ─" in t)
        assert p.run.commands() == []
