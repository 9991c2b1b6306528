"""Golden pairs of the rules about speed: what each must convict, and the nearest innocent run."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from labelled_curves import judged, of_rule

from tuimon.diagnosis.model import Diagnosis, RunContext
from tuimon.diagnosis.wording import bytes_, seconds
from tuimon.record.chunk import Chunk, Mark


def noisy(values, size=0.05, seed=0):
    values = np.asarray(values, np.float64)
    return values * np.exp(np.random.default_rng(seed).normal(0, size, len(values)))


def timed(took, marks: tuple[Mark, ...] = (), total: int | None = None, **more) -> Diagnosis:
    columns = {name: list(map(float, values)) for name, values in {"step_time": took, **more}.items()}
    return judged(Chunk.of(**columns, marks=marks), RunContext(total_steps=total))


def only(diagnosis, slug):
    found = of_rule(diagnosis, slug)
    assert len(found) == 1, diagnosis.incidents
    return found[0]


T = np.arange(3000)
SLOWED = noisy(np.where(T < 1199, 0.23, 0.41))


# ---------------------------------------------------------------- throughput-drop


def test_a_run_that_has_become_slower_says_since_when_and_by_how_much():
    found = only(timed(SLOWED, data_time=SLOWED * 0.62), "throughput-drop")
    assert (found.severity, found.state, found.word) == ("info", "open", "slower")
    assert abs(found.onset_step - 1200) <= 3
    assert found.detected_step - 1200 <= 780
    assert found.why.startswith(f"Each step takes 0.41 s since step {found.onset_step:,}, 1.8x its usual 0.23 s; 62 % of it waits for data.")
    assert "workers" in found.next[0]
    assert "what else runs on this machine" in only(timed(SLOWED), "throughput-drop").next[0]


def test_twice_the_time_for_ten_minutes_is_a_warning_and_it_is_over_when_the_pace_is_back():
    found = only(timed(noisy(np.where((T > 1000) & (T < 2400), 0.6, 0.2))), "throughput-drop")
    assert (found.severity, found.state) == ("warning", "resolved")
    assert abs(found.onset_step - 1002) <= 3
    assert 2400 <= found.resolved_step <= 2500
    assert "Back at its pace since step 2,4" in found.why


@pytest.mark.parametrize("took", [
    np.where(T % 50 == 0, 20.0, 0.2),                         # evaluations and checkpoints
    np.where((T > 1000) & (T < 1700), 0.4, 0.2),              # four minutes of something else
    np.where(T < 12, 30.0, 0.2),                              # compilation
    np.where(T // 100 % 2 == 0, 0.2, 0.26),                   # breathing
    np.exp(np.random.default_rng(3).normal(-1.6, 0.5, 3000)),
    np.where(T < 1200, 0.4, 0.2),                             # faster
    np.where(T < 1500, 0.001, 0.003),                         # slower for four seconds in all
], ids=["pauses", "short", "compilation", "breathing", "noise", "faster", "seconds"])
def test_what_interrupts_a_run_or_passes_is_no_drop(took):
    assert not of_rule(timed(noisy(took)), "throughput-drop")


def test_a_larger_batch_is_slower_by_step_and_not_by_token():
    tokens = np.where(T < 1200, 4096, 8192)
    took = noisy(np.where(T < 1200, 0.2, 0.41))
    assert not of_rule(timed(took, tokens=tokens, throughput=tokens / took), "throughput-drop")
    assert only(timed(took, tokens=np.full(3000, 4096)), "throughput-drop").why.endswith("at the same 4,096 tokens.")


def test_a_smaller_batch_is_slower_by_token_and_not_by_step():
    tokens = np.where(T < 1200, 8192, 1024)
    took = noisy(np.where(T < 1200, 0.2, 0.1))
    assert not of_rule(timed(took, tokens=tokens), "throughput-drop")


def test_after_a_change_of_the_batch_a_drop_is_measured_against_the_new_usual():
    tokens = np.where(T < 1000, 8192, 1024)
    took = noisy(np.select([T < 1000, T < 1800], [1.6, 0.2], 0.5))
    found = only(timed(took, tokens=tokens), "throughput-drop")
    assert abs(found.onset_step - 1801) <= 3
    assert "2.5x its usual 0.20 s" in found.why


def test_throughput_alone_will_do():
    found = only(judged(Chunk.of(throughput=[4096 / t for t in SLOWED])), "throughput-drop")
    assert abs(found.onset_step - 1200) <= 3
    assert found.evidence[0].metric == "throughput"


def test_another_machine_after_a_resume_has_a_pace_of_its_own():
    assert not of_rule(timed(SLOWED, marks=(Mark(1199, "attempt", {"number": 2, "from_step": 1199}),)), "throughput-drop")


def test_a_slow_slide_is_told_before_a_step_takes_four_times_as_long():
    found = only(timed(noisy(0.2 * (1 + T / 1000))), "throughput-drop")
    assert found.detected_step < 2600


# ---------------------------------------------------------------- data-starved


def test_steps_that_wait_for_data_say_how_much_and_bring_the_slowness_about():
    share = np.where(T < 1199, 0.04, 0.62)
    diagnosis = timed(SLOWED, data_time=SLOWED * share)
    found = only(diagnosis, "data-starved")
    assert (found.severity, found.state) == ("warning", "open")
    assert abs(found.onset_step - 1200) <= 3
    assert "62 % of each step goes into waiting for data" in found.why
    assert "0.25 s of 0.41 s" in found.why
    assert "2.6x as fast" in found.why
    assert only(diagnosis, "throughput-drop").cause == "data-starved"
    assert {b.category: b.word for b in diagnosis.badges}["throughput"] == "waiting for data"


def test_a_third_of_the_step_is_for_information_and_a_tenth_is_nothing():
    took = noisy(np.full(3000, 0.2))
    assert only(timed(took, data_time=took * 0.36), "data-starved").severity == "info"
    assert not of_rule(timed(took, data_time=took * 0.1), "data-starved")


def test_every_fourth_batch_that_is_waited_for_is_starvation_all_the_same():
    took = np.where(T % 4 == 0, 0.7, 0.1)
    assert only(timed(took, data_time=np.where(T % 4 == 0, 0.6, 0.001)), "data-starved").severity == "warning"


def test_workers_that_start_with_an_epoch_are_no_starvation_and_a_mended_loader_ends_it():
    took = np.where(T % 500 == 0, 8.0, 0.2)
    assert not of_rule(timed(took, data_time=np.where(T % 500 == 0, 7.8, 0.01)), "data-starved")
    mended = only(timed(np.full(3000, 0.2), data_time=np.where(T < 1500, 0.15, 0.01)), "data-starved")
    assert (mended.state, mended.onset_step) == ("resolved", 17)
    assert mended.resolved_step <= 1600


# ---------------------------------------------------------------- memory-growth


def leaking(memory, total=None):
    return timed(np.full(len(memory), 0.2), total=total, memory=memory)


def test_a_leak_is_told_with_its_pace_and_the_step_at_which_memory_has_doubled():
    found = only(leaking(noisy(3e9 + 1e6 * np.maximum(0, T - 400), 0.01)), "memory-growth")
    assert (found.severity, found.state) == ("warning", "open")
    assert 200 <= found.onset_step <= 600
    assert "in a straight line: 3.0 GB then, 5." in found.why
    assert 0.9e9 < (found.evidence[0].value - 3e9) / 2600 * 1000 < 1.1e9
    assert "it will have doubled by step" in found.why
    assert found.detected_step < 1600


def test_where_the_end_of_the_run_is_known_it_is_said_what_memory_will_be_then():
    found = only(leaking(3e9 + 3e5 * T, total=4000), "memory-growth")
    assert found.severity == "info"
    assert "at this pace 4.2 GB at the end of the run (step 4,000)" in found.why
    assert only(leaking(3e9 + 3e5 * T, total=40_000), "memory-growth").severity == "warning"


@pytest.mark.parametrize("memory", [
    2e9 * (1 - 0.7 * np.exp(-T / 300)),                                               # caches fill
    2e9 + 1e8 * np.log1p(T),                                                          # records, ever more rarely
    np.where(T < 1800, 2e9, 2.6e9),                                                   # a first evaluation
    2e9 + 1e9 * np.random.default_rng(0).random(3000),                                # activations come and go
    np.maximum.accumulate(2e9 + 3e8 * np.random.default_rng(1).normal(0, 1, 3000)),   # the largest batch so far
    2e9 + 2e4 * T,                                                                    # 3 % in all
    2e9 + 4e8 * (T // 500 % 2),                                                       # up and down again
], ids=["saturating", "logarithm", "step", "noise", "records", "little", "tides"])
def test_memory_that_levels_off_or_comes_and_goes_is_no_leak(memory):
    assert not of_rule(leaking(noisy(memory, 0.002)), "memory-growth")


def test_a_leak_that_has_been_mended_is_over():
    found = only(leaking(noisy(2e9 + 2e6 * np.minimum(T, 1500), 0.002)), "memory-growth")
    assert (found.state, "levelled off" in found.why) == ("resolved", True)


# ---------------------------------------------------------------- straggler


def ranks(slow, which, middle=0.4):
    middle = noisy(np.full(len(which), middle))
    return judged(Chunk.of(step_time=list(middle * slow), slowest_step_time=list(middle * slow), median_step_time=list(middle),
                           slowest_rank=list(map(float, which))))


def test_a_rank_that_holds_up_the_others_is_named():
    found = only(ranks(np.where(T < 999, 1.05, 1.5), np.where(T < 999, T % 8, 5)), "straggler")
    assert (found.severity, found.state, found.onset_step) == ("warning", "open", 1000)
    assert "Rank 5 computes 0.6" in found.why
    assert "1.5x the median of all ranks" in found.why
    assert "rank 5" in found.next[0]


@pytest.mark.parametrize(("slow", "which"), [
    (np.full(3000, 1.5), T % 8), (np.full(3000, 1.2), np.full(3000, 5)),
    (np.where(T % 200 < 40, 2.0, 1.0), np.full(3000, 0)),
], ids=["a different one each time", "little", "rank 0 saves"])
def test_ranks_that_are_slow_in_turn_or_a_little_are_no_stragglers(slow, which):
    assert not of_rule(ranks(slow, which), "straggler")


def test_a_single_process_is_told_what_the_rule_would_need():
    needs = {n.rule: n.needs for n in timed(SLOWED).not_evaluated}
    assert needs["straggler"] == ("what several ranks log",)


def test_a_straggler_that_was_replaced_is_over():
    found = only(ranks(np.where(T < 1500, 1.6, 1.02), np.where(T < 1500, 2, T % 8)), "straggler")
    assert (found.state, found.onset_step, found.resolved_step <= 1600) == ("resolved", 1, True)


@pytest.mark.parametrize(("value", "words"), [(0.0042, "4.2 ms"), (0.038, "38 ms"), (0.41, "0.41 s"), (2.34, "2.3 s"), (41, "41 s")])
def test_seconds_are_said_to_two_digits(value, words):
    assert seconds(value) == words


@pytest.mark.parametrize(("value", "words"), [(999, "999 B"), (1e6, "1.0 MB"), (3.14e9, "3.1 GB"), (640e6, "640 MB"), (-2.5e9, "-2.5 GB")])
def test_memory_is_said_in_powers_of_ten(value, words):
    assert bytes_(value) == words


# ---------------------------------------------------------------- desynchronised-replicas


def checked(strays, tensors=None, layers=None):
    """A look at every eighth step, at one of four tensors in turn."""
    looks = len(strays)
    columns = {"strays": [math.nan] * (8 * looks), "stray_rank": [math.nan] * (8 * looks), "checked_tensor": [math.nan] * (8 * looks)}
    for i, odd in enumerate(strays):
        columns["strays"][8 * i + 7], columns["checked_tensor"][8 * i + 7] = float(odd), float(i % 4)
        if odd:
            columns["stray_rank"][8 * i + 7] = 3.0
    full = Chunk.of(loss=[2.0 + 0.01 * (i % 7) for i in range(8 * looks)], **columns)
    whole = replace(full, present={**full.present, **{name: ~np.isnan(full.columns[name]) for name in columns}})
    return judged(whole, RunContext(layers={f"block {i}": (i,) for i in range(4)}))


def test_a_rank_that_holds_other_weights_is_named_with_step_and_layer_at_the_first_look():
    found = only(checked([0] * 10 + [1] * 20), "desynchronised-replicas")
    assert (found.severity, found.state, found.onset_step, found.layer) == ("critical", "open", 88, "block 2")
    assert found.why.startswith("Rank 3 holds other weights than the ranks that should hold the same, since step 88, first seen in block 2")


def test_ranks_that_hold_the_same_are_not_accused():
    found = checked([0] * 30)
    assert not of_rule(found, "desynchronised-replicas")
    assert "desynchronised-replicas" not in {n.rule for n in found.not_evaluated}


def test_one_tensor_that_differs_stays_so_until_it_is_looked_at_again():
    found = only(checked([0, 0, 1, 0, 0, 0, 1, 0, 0]), "desynchronised-replicas")
    assert (found.state, found.onset_step, found.layer) == ("open", 24, "block 2")
    assert only(checked([0, 0, 1, 0, 0, 0, 0, 0]), "desynchronised-replicas").resolved_step == 56


def test_a_single_process_is_told_that_there_is_nothing_to_compare():
    needs = {n.rule: n.needs for n in timed(SLOWED).not_evaluated}
    assert needs["desynchronised-replicas"] == ("what several ranks that hold the same weights log",)
