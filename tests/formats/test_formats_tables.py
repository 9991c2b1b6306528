"""Tables that people and loggers write, as CSV and as JSON: what is understood, what is said, what is refused and where."""

from __future__ import annotations

import json
import math
import os
import random

import numpy as np
import pytest
from squeezed import squeezed

from tuimon.errors import LogError
from tuimon.formats import Reading, read


@pytest.fixture
def given(tmp_path):
    def write(text: str | bytes, name: str = "log.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)
    return write


def column(reading: Reading, name: str) -> list[tuple[int, float]]:
    return [(int(s), float(v)) for chunk in reading.chunks for s, v in zip(*chunk.measured(name), strict=True)]


LOSSES = [(1, 3.0), (2, 2.5)]


@pytest.mark.parametrize("text", [
    "step,loss\n1,3.0\n2,2.5\n", "step,loss\r\n1,3.0\r\n2,2.5\r\n", "step;loss\n1;3,0\n2;2,5\n", "step\tloss\n1\t3.0\n2\t2.5",
    '"step","loss"\n"1","3.0"\n"2","2.5"\n', "\ufeffstep,loss\n1,3.0\n2,2.5\n", "\n\nstep,loss\n\n1,3.0\n\n2,2.5\n\n",
    "step,loss,\n1,3.0,\n2,2.5,\n", 'loss,comment,step\n3.0,fine,1\n2.5,"well, fine\nand more",2\n', "step , loss\n 1 , 3.0\n2, 2.5\n",
    "loss\n3.0\n2.5\n", "step,loss,ok\n1,3.0,true\n2,2.5,false\n", "step,loss\n1.0,3.0\n2.0,2.5\n2",
    "\ufeffstep,loss\n1,3\n2,2.5\n".encode("utf-16"), squeezed(b"step,loss\n1,3.0\n2,2.5\n"),
    squeezed(b"step,loss\n1,3.0\n") + squeezed(b"2,2.5\n"), "step,loss\n2,2.5\n1,3.0\n", "step,loss\n1,3.0\n2,2.0\n2,3.0\n",
    "step,loss,loss\n1,3.0,9\n2,2.5,9\n", "step,loss\n1,3.0\nstep,loss\n2,2.5\n", '"step",loss\n1,3.0\n"step",loss\n2,2.5\n',
])
def test_a_csv_of_any_dialect_is_read(text, given):
    assert column(read(given(text)), "loss") == LOSSES


@pytest.mark.parametrize("text", [
    '{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n', '{"loss": 3}\r\n\r\n{"loss": 2.5}', '[{"loss": 3.0}, {"step": 2, "loss": "2.5"}, {"step": 1}]',
    '{"train": {"loss": 3.0}, "step": 1}\n{"train": {"loss": 2.5}, "step": 2}\n', '{"config": {"lr_max": "big"}}\n{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n{"st',
    squeezed(b'{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n'),
])
def test_records_of_any_layout_are_read(text, given):
    expected = [(2, 2.5)] if isinstance(text, str) and text.startswith("[") else LOSSES
    assert column(read(given(text, "log.jsonl")), "loss") == expected


@pytest.mark.parametrize(("raw", "metric"), [
    *[(raw, "loss") for raw in ("loss", "train_loss", "train/loss", "training_loss", "Train Loss", "train_loss_step", "Loss/train", "optim/loss")],
    *[(raw, "val_loss") for raw in ("val_loss", "eval_loss", "eval/loss", "val/loss", "validation_loss", "validation/epoch_loss", "Loss/test")],
    *[(raw, "grad_norm") for raw in ("grad_norm", "gradient_norm", "grad/norm", "total_norm", "train/grad_norm", "optim/total_grad_norm", "grad_2.0_norm_total")],
    *[(raw, "lr") for raw in ("lr", "learning_rate", "lr-AdamW", "lr-AdamW/pg1", "train/learning_rate")],
])
def test_what_other_tools_call_a_metric_is_known(raw, metric, given):
    reading = read(given(f"step,{raw}\n1,3\n2,2.5\n"))
    assert reading.columns == {metric: raw}
    assert column(reading, metric) == LOSSES


@pytest.mark.parametrize("name", ["step", "global_step", "iteration", "_step", "trainer/global_step", "iter"])
def test_what_other_tools_call_a_step_is_known(name, given):
    assert column(read(given(f"loss,{name}\n3.0,70\n2.5,80\n")), "loss") == [(70, 3.0), (80, 2.5)]


def test_values_that_are_not_finite_are_kept_and_blanks_are_not_measured(given):
    words = ["nan", "NaN", "inf", "-inf", "Infinity", "-Infinity", "", "null", "None", "1e999", "1.#QNAN", "-nan"]
    read_back = column(read(given("step,loss\n" + "".join(f"{i},{w}\n" for i, w in enumerate(words)))), "loss")
    expected = [(0, math.nan), (1, math.nan), (2, math.inf), (3, -math.inf), (4, math.inf), (5, -math.inf), (9, math.inf),
                (10, math.nan), (11, math.nan)]
    np.testing.assert_array_equal(np.array(read_back), np.array(expected))
    lines = ['{"loss": NaN}', '{"loss": "nan"}', '{"loss": null}', '{"loss": "-Infinity"}', '{"loss": 1' + "0" * 400 + "}", '{"loss": ""}', '{"loss": true}']
    read_back = column(read(given("\n".join(f'{{"step": {i}, {line[1:]}' for i, line in enumerate(lines)), "a.jsonl")), "loss")
    np.testing.assert_array_equal(np.array(read_back), np.array([(0, math.nan), (1, math.nan), (3, -math.inf), (4, math.inf), (6, 1.0)]))


def test_layers_come_as_objects_or_as_columns_on_their_own_cadence(given):
    lines = [{"step": s, "loss": 1.0} | ({"layer_grad_norm": {"a": 1.0 + s, "b": None if s else "nan"}, "layer_update_ratio": {"b": 0.5}} if s % 10 == 0 else {}) for s in range(21)]
    reading = read(given("\n".join(map(json.dumps, lines)), "a.jsonl"))
    (chunk,) = reading.chunks
    assert reading.context.layers == {"a": (0,), "b": (1,)}
    assert chunk.tensors.steps.tolist() == [0, 10, 20]
    np.testing.assert_array_equal(chunk.tensors.grad, np.array([[1, np.nan], [11, np.nan], [21, np.nan]], np.float32))
    assert chunk.tensors.grad_seen.tolist() == [[True, True], [True, False], [True, False]]
    assert chunk.tensors.update[:, 1].tolist() == [0.5] * 3
    flat = read(given("step,loss,grad_2.0_norm/h.0.w.weight,grad_2.0_norm/h.0.w.bias,grad_2.0_norm/h.1.w.weight\n1,2,3,4,5\n"))
    assert flat.context.layers == {"h.0": (0, 1), "h.1": (2,)}
    assert flat.chunks[0].tensors.grad.tolist() == [[3, 4, 5]]


@pytest.mark.parametrize(("text", "says"), [
    ("", "is empty"), ("\n\n", "is empty"), ("step,loss\n", "nothing is measured"), ("step,loss\n1,\n", "nothing is measured"),
    ("a,b\n1,2\n", "wanted one of loss"), ("g\n1\n", "wanted one of loss"), ("1,2\n3,4\n", "line 1: wanted the names"), ("step,loss\n1,2\n2,abc\n3,1\n", "line 3, column 'loss': 'abc' is not a number"),
    ("step,loss\n1,2\n2\n3,1\n", "line 3: 1 fields, but the header names 2"), ("step,loss\n1,2,3\n", "line 2: 3 fields"), ("step,loss\n1.5,2\n", "line 2, column 'step': a step is a whole"),
    ('step,loss\n1,2\n\n"2",x\n3,3\n', "line 4, column 'loss'"), ("step,loss\n1e300,2\n", "line 2, column 'step'"), ("step,loss\nnan,2\n", "line 2, column 'step'"),
    (squeezed(random.Random(0).randbytes(5000))[:2000] + b"\xff" * 4000, "damaged gzip"), (bytes(range(256)), "binary"),
])
def test_a_malformed_csv_gets_one_line_with_place_and_reason(text, says, given):
    path = given(text)
    with pytest.raises(LogError) as told:
        read(path)
    assert str(told.value).startswith(f"{path}: ")
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("text", "says"), [
    ('{"loss": 1}\n{"loss": }\n{"loss": 1}\n', "line 2: not JSON (Expecting value at character 10)"), ('{"loss": 1}\n\n[1]\n', "line 3: wanted an object, found list"),
    ('{"loss": 1}\n{"loss": "x\\u001b[2J"}\n', r"line 2, key 'loss': 'x\x1b[2j' is not a number".replace("[2j", "[2J")), ('{"loss": [1]}\n', "line 1, key 'loss': a list is not a number"),
    ('{"a": ' + "[" * 100_000 + "\n{}\n", "nested too deeply"), ('[{"loss": 1}, 2]', "[1]: wanted an object"), ('[{"loss": 1}', "not JSON"), ('{"a": 1}\n', "wanted one of loss"),
    ('{"loss": 1, "step": 9007199254740993}\n', "line 1, key 'step'"),
])
def test_a_malformed_record_gets_one_line_with_place_and_reason(text, says, given):
    with pytest.raises(LogError) as told:
        read(given(text, "a.jsonl"))
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("text", "left"), [
    ("step,loss\n1,3.0\n2,2.5\n3", 2), ("step,loss\n1,3.0\n2,2.5\n3,1e", 2), ('step,loss\n"1",3.0\n2,2.5\n3', 2), (squeezed(b"step,loss\n" + random.Random(0).randbytes(9000).hex().encode() + b",1\n")[:-900], None),
    (squeezed(("step,loss\n" + "".join(f"{i},{i * 7919 % 1000}\n" for i in range(3000))).encode())[:-400], "some"),
])
def test_a_file_that_is_still_being_written_loses_its_torn_line_and_says_so(text, left, given):
    if left is None:
        with pytest.raises(LogError, match="nothing is measured"):
            read(given(text))
        return
    reading = read(given(text))
    found = column(reading, "loss")
    assert found == LOSSES if left == 2 else 1000 < len(found) < 3000
    assert any("torn" in note for note in reading.notes)


def test_sparse_logging_is_understood_and_said(given):
    def noted(steps) -> tuple[int | None, tuple[str, ...]]:
        reading = read(given("step,loss,val_loss\n" + "".join(f"{s},1,{2 if s % 1000 == 0 else ''}\n" for s in steps)))
        return reading.cadence, reading.notes
    assert noted(range(0, 3000, 10)) == (10, ("logged every 10 steps: what happens between is not seen",))
    assert noted(range(50)) == (1, ())
    assert noted([5]) == (None, ())
    assert noted([*range(100), *range(100, 2100, 100)]) == (1, ("logged unevenly, every 1 to 100 steps",))


def test_a_resumed_run_is_two_attempts_and_an_unsorted_file_is_one(given):
    def rows(steps) -> Reading:
        return read(given("step,loss\n" + "".join(f"{s},{s}\n" for s in steps)))
    resumed = rows([*range(1, 101), *range(81, 201)])
    assert [len(chunk) for chunk in resumed.chunks] == [100, 120]
    assert [(m.kind, m.step) for chunk in resumed.chunks for m in chunk.marks] == [("attempt", 80)]
    assert resumed.notes == ("resumed at step 81",)
    for steps in (range(100, 0, -1), np.random.default_rng(0).permutation(100) + 1):
        (chunk,) = rows(steps).chunks
        assert chunk.steps.tolist() == list(range(1, 101)) == chunk.columns["loss"].tolist()
        assert rows(steps).notes == ("steps were not in order: sorted",)


def test_train_and_validation_rows_of_one_step_are_one_row(given):
    text = "epoch,step,train_loss_step,train_loss_epoch,val_loss\n0,9,3.0,,\n0,19,2.5,,\n0,19,,,2.7\n0,19,,2.75,\n1,29,2.0,,\n1,39,1.5,,\n1,39,,,1.8\n1,39,,1.75,\n"
    reading = read(given(text, "metrics.csv"))
    assert column(reading, "loss") == [(9, 3.0), (19, 2.5), (29, 2.0), (39, 1.5)]
    assert column(reading, "val_loss") == [(19, 2.7), (39, 1.8)]
    assert sum(map(len, reading.chunks)) == 4
    assert reading.columns["loss"] == "train_loss_step"
    assert "loss is read from 'train_loss_step'; also there: 'train_loss_epoch'" in reading.notes
    after = read(given("step,loss,val_loss\n" + "".join(f"{s},1,\n" for s in range(1, 51)) + "".join(f"{s},,2\n" for s in range(10, 51, 10))))
    assert [len(chunk) for chunk in after.chunks] == [50]
    assert len(column(after, "val_loss")) == 5


def test_thousands_of_columns_cost_no_more_than_those_that_are_known(given):
    names = [f"gpu.{i}.watts" for i in range(5000)]
    text = ",".join(["step", "loss", *names]) + "\n" + "".join(f"{s},{s}" + ",7" * 5000 + "\n" for s in range(1, 30))
    assert column(read(given(text)), "loss") == [(s, float(s)) for s in range(1, 30)]


def test_what_is_no_plain_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name, says in (("pipe.csv", "not a regular file"), ("gone.csv", "No such file"), ("loop.csv", "symbolic links")):
        if name == "loop.csv":
            (tmp_path / name).symlink_to(tmp_path / name)
        with pytest.raises(LogError, match=says):
            read(tmp_path / name)
    (tmp_path / "real.csv").write_text("loss\n1\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert column(read(tmp_path / "link.csv"), "loss") == [(1, 1.0)]


def test_a_compressed_file_that_promises_gigabytes_is_refused_at_its_first_endless_line(given):
    packed = squeezed(b"step,loss\n" + b"1" * (64 << 20))
    with pytest.raises(LogError, match="line 2: longer than 16 MiB"):
        read(given(packed, "bomb.csv.gz"))


def test_rows_with_keys_of_their_own_are_no_table(given):
    text = "".join(f'{{"k{i}":1}}\n' for i in range(20_000))
    with pytest.raises(LogError, match="not a table"):
        read(given(text, "a.jsonl"))
