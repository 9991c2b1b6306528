"""The notebook's monitor: its thresholds to the last digit, its order, its dashboard on any data."""

from __future__ import annotations

import io
import math
from math import nextafter

import pytest
from labelled_curves import calm

from tuimon.diagnosis import notebook_rules as said
from tuimon.diagnosis.model import RunContext
from tuimon.diagnosis.notebook import NotebookEngine, TrainingHealthMonitor
from tuimon.diagnosis.plotting import Chart, cleaned, draw, spread, thinned
from tuimon.record.chunk import Chunk, Mark


class Number:
    """Stands where a torch scalar would: `.item()` and nothing else."""

    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


class Tensor:
    """Stands where a torch parameter would."""

    def __init__(self, norm, grad=None):
        self.length, self.grad = norm, grad

    def detach(self):
        return self

    def norm(self):
        return Number(self.length)


class Model:
    def __init__(self, *tensors):
        self.tensors = tensors

    def parameters(self):
        return iter(self.tensors)


class Optimizer:
    param_groups = ({"lr": 3e-4},)


def vitals(grad, weight, loss=2.0, before=()):
    monitor = TrainingHealthMonitor()
    for i, value in enumerate(before):
        monitor.check_vitals(Model(Tensor(100.0, Tensor(1.0))), value, Optimizer(), i)
    return monitor, monitor.check_vitals(Model(Tensor(weight, Tensor(grad))), Number(loss), Optimizer(), len(before))


@pytest.mark.parametrize(("grad", "weight", "loss", "verdict"), [
    (1.0, 100.0, 2.0, said.HEALTHY),
    (1.0, 100.0, math.nan, said.NON_FINITE),
    (50.0, 1.0, math.inf, said.NON_FINITE),
    (10.0, 1e3, 2.0, said.HEALTHY),
    (nextafter(10.0, 11), 1e3, 2.0, said.EXPLODING),
    (1e-5, 1.0, 2.0, said.HEALTHY),
    (nextafter(1e-5, 0), 1e-3, 2.0, said.VANISHING),
    (0.0, 1.0, 2.0, said.VANISHING),
    (0.1, 1.0, 2.0, said.HEALTHY),
    (nextafter(0.1, 1), 1.0, 2.0, said.RATE_HIGH),
    (1.0, 0.0, 2.0, said.RATE_HIGH),
    (nextafter(1e-5, 0) * 1e3, 1e3, 2.0, said.RATE_LOW),
])
def test_each_threshold_holds_just_above_and_just_below(grad, weight, loss, verdict):
    assert vitals(grad, weight, loss)[1] == verdict.says


@pytest.mark.parametrize(("before", "last", "verdict"), [
    ((9.0, 2.0, 9.0, 2.1, 2.1), 2.1, said.RISING),
    ((9.0, 2.0, 1.0, 2.1, 2.1), 2.1, said.RISING),
    ((9.0, 2.0, 9.0, 2.1, 2.0), 2.1, said.HEALTHY),
    ((9.0, 2.0, 9.0, 2.1, 2.1), 2.0, said.HEALTHY),
    ((2.0, 9.0, 2.1, 2.1), 2.1, said.HEALTHY),
])
def test_the_trend_compares_the_third_to_fifth_of_the_last_five_with_the_first(before, last, verdict):
    assert vitals(1.0, 100.0, last, before)[1] == verdict.says


@pytest.mark.parametrize(("loss", "grad", "stop"), [
    (2.0, 100.0, False), (2.0, nextafter(100.0, 200), True), (50.0, 1.0, False), (nextafter(50.0, 60), 1.0, True),
    (math.nan, 1.0, True), (-math.inf, 1.0, True), (2.0, math.nan, False),
])
def test_an_emergency_is_a_loss_above_50_a_gradient_above_100_or_a_loss_that_is_no_number(loss, grad, stop):
    assert vitals(grad, 1e4, loss)[0].emergency_stop_needed() is stop


def test_norms_are_global_and_parameters_without_gradient_are_passed_over():
    monitor = TrainingHealthMonitor()
    monitor.check_vitals(Model(Tensor(30.0, Tensor(3.0)), Tensor(40.0, Tensor(4.0)), Tensor(0.0)), 2.0, Optimizer(), 7)
    assert (monitor.grad_norms, monitor.param_norms, monitor.ratios) == ([5.0], [50.0], [0.1])
    assert (monitor.steps, monitor.losses, monitor.learning_rates) == ([7], [2.0], [3e-4])


def test_reset_forgets_everything():
    monitor, _ = vitals(1.0, 1.0, math.nan)
    monitor.reset()
    assert not monitor.emergency_stop_needed()
    assert monitor.health_summary() == "Training health: no step checked yet"
    assert monitor.losses == []


def test_it_works_on_a_real_model_in_a_bare_loop():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = TrainingHealthMonitor()
    for step in range(3):
        loss = model(torch.ones(2, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        monitor.check_vitals(model, loss, optimizer, step)
        optimizer.step()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
    assert monitor.grad_norms[-1] == pytest.approx(wanted)


def test_the_summary_counts_verdicts_and_names_zones():
    text = vitals(500.0, 1e4, 2.0, (2.0,) * 3)[0].health_summary()
    assert "after 4 steps" in text
    assert "danger" in text
    assert "3 x healthy: training normally" in text
    assert text.endswith("now: danger: gradient explosion imminent; emergency stop needed")


@pytest.mark.parametrize(("metric", "value", "zone"), [
    ("grad_norm", 1.0, "healthy"), ("grad_norm", 10.0, "danger"), ("grad_norm", 0.05, "vanishing"),
    ("grad_norm", 1e-7, ""), ("grad_norm", math.nan, ""), ("grad_param_ratio", 0.5, "too high"),
    ("grad_param_ratio", 1e-3, "healthy"), ("loss", 1.0, ""),
])
def test_zones_are_the_notebooks(metric, value, zone):
    assert said.zone_of(metric, value) == zone


ODD = {
    "empty": [], "one": [1.0], "constant": [2.0] * 50, "zeros": [0.0] * 50, "all nan": [math.nan] * 9, "huge": [1e300, -1e300, 1e308],
    "tiny": [5e-324, 1e-300, 1.0], "negative": [-1.0, -2.0], "mixed": [1.0, math.nan, math.inf, -math.inf, 0.0, 3.0] * 40,
}


@pytest.mark.parametrize("values", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("colour", [False, True])
def test_a_chart_is_drawn_or_explained_whatever_the_data(values, log, colour):
    picture = draw(Chart("grad norm", range(len(values)), values, log=log, zones=said.ZONES["grad_norm"]), width=60, height=10,
                   colour=colour)
    again = draw(Chart("grad norm", range(len(values)), values, log=log, zones=said.ZONES["grad_norm"]), width=60, height=10,
                 colour=colour)
    assert picture == again
    assert "grad norm" in picture
    assert colour or max(map(len, picture.splitlines())) <= 60
    assert colour or "\x1b" not in picture


def test_a_chart_says_how_many_points_it_could_not_draw():
    assert "(2 not drawable)" in draw(Chart("loss", range(4), [1.0, math.nan, math.inf, 2.0]), width=80, height=8)
    assert cleaned([1, 2, 3], [10.0, 0.0, 100.0], log=True) == ([1.0, 3.0], [1.0, 2.0], 1)


def test_the_axis_goes_on_to_the_last_step_even_where_the_values_do_not():
    assert "99" in draw(Chart("loss", range(100), [2.0, 1.0] * 25 + [math.nan] * 50), width=80, height=8)


def test_thinning_keeps_every_spike():
    y = [0.0] * 10_000
    y[1234], y[8765] = 9.0, -9.0
    x, kept = thinned(list(range(10_000)), y, 50)
    assert len(x) <= 100
    assert (1234, 9.0) in set(zip(x, kept, strict=True))
    assert (8765, -9.0) in set(zip(x, kept, strict=True))


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [-5e10, -5e10], [1e-300]])
def test_axis_limits_are_never_equal(values):
    low, high = spread(values)
    assert low < min(values) <= max(values) < high


@pytest.mark.parametrize("losses", [[], [2.0], [math.nan] * 3, [5.0, math.inf, 0.0, 2.0] * 10])
@pytest.mark.parametrize("width", [40, 100])
def test_the_dashboard_prints_four_charts_on_any_data(losses, width):
    monitor = TrainingHealthMonitor()
    for i, loss in enumerate(losses):
        monitor.check_vitals(Model(Tensor(1.0, Tensor(loss))), loss, Optimizer(), i)
    out = io.StringIO()
    monitor.plot_dashboard(out, width=width)
    text = out.getvalue()
    for title in ("loss", "grad norm, log", "learning rate", "grad/param ratio, log"):
        assert title in text
    assert "danger 10.0 to 1000" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= (100 if width == 100 else 80)


def test_the_engine_gives_the_same_verdicts_over_a_log():
    columns, _ = calm(60)
    columns["grad_norm"][30] = 20.0
    columns["grad_norm"][31] = 200.0
    ratio = [1e-3] * 60
    ratio[40:] = [0.2] * 20
    engine = NotebookEngine(RunContext())
    engine.feed(Chunk.of(loss=columns["loss"], grad_norm=columns["grad_norm"], grad_param_ratio=ratio))
    found = {i.rule: i for i in engine.diagnosis.incidents}
    assert (found["notebook-exploding"].onset_step, found["notebook-exploding"].resolved_step) == (31, 33)
    assert found["notebook-emergency-stop"].severity == "critical"
    assert engine.diagnosis.leading.rule == "notebook-learning-rate-high"
    assert engine.diagnosis.verdict == "warning"
    badges = {b.category: b.word for b in engine.diagnosis.badges}
    assert (badges["updates"], badges["gradients"], badges["layers"]) == ("too high", "ok", "waiting")


def test_what_was_not_logged_is_not_evaluated():
    engine = NotebookEngine(RunContext())
    engine.feed(Chunk.of(loss=[2.0] * 10, marks=(Mark(3, "override", {}),)))
    assert {n.rule for n in engine.diagnosis.not_evaluated} == {
        "notebook-exploding", "notebook-vanishing", "notebook-learning-rate-high", "notebook-learning-rate-low"}
    assert engine.diagnosis.verdict == "healthy"
