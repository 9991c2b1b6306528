"""`tuimon report`: one page that says what diagnose says, as pictures as well, and holds nothing that could run."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.formats.html_reading import parsed
from tests.viewer.synthetic import Run, collapsing, exploding, healthy, rescued
from tuimon.cli import main
from tuimon.diagnosis.manual import page as manual_page
from tuimon.formats.judged import find, judged
from tuimon.formats.report import plot
from tuimon.formats.report.gather import gather
from tuimon.formats.report.model import Moment
from tuimon.formats.report.page import page
from tuimon.record.history import thin
from tuimon.record.rundir import create_run

DATA = Path(__file__).parent / "data"
NOW = 1_790_000_000.0


def source(run):
    (found,), _ = find([str(run.dir.path) if isinstance(run, Run) else run])
    return found


def made(run):
    """The page as elements, and the verdict that diagnose gives."""
    one = source(run)
    return parsed(page(gather(one, now=NOW))), judged(one)




def test_every_number_of_an_incident_is_the_one_that_diagnose_says(tmp_path):
    root, one = made(rescued(root=tmp_path))
    told = {article.one("h3").text[2:]: article for article in root.one("main").every("article", "incident")}
    assert len(told) == len(one.diagnosis.incidents) >= 2
    for body in one.json()["incidents"]:
        article = told[body["headline"]]
        assert body["why"] in article.text
        assert [e.text.lower() for e in article.one("ol").every("li")] == [advice.lower() for advice in body["next"]]
        rows = list(article.one("tbody").every("tr"))
        shown = [[d.attributes["value"] for d in row.every("data")] for row in rows]
        assert [row[:2] for row in shown] == [[str(e["value"]), str(e["limit"])] for e in body["evidence"] if e["limit"] != "NaN"]
        steps = [d.attributes["value"] for d in article.one("p", "facts").every("data")]
        resolved = [str(body["resolved_step"])] if body["resolved_step"] is not None else []
        assert steps == [str(body["onset_step"]), *resolved, str(body["detected_step"])]
        assert f"confidence {body['confidence']}" in article.text
        assert body["severity"] in article.text


def test_the_verdict_is_that_of_diagnose_open_or_calm(tmp_path):
    root, one = made(exploding(root=tmp_path))
    leading = one.diagnosis.leading
    told = root.one("section", "verdict")
    assert told.classes[-1] == leading.severity
    assert told.one("h2").text.endswith(leading.headline)
    assert leading.why in told.text
    assert f"since step {leading.onset_step}" in told.text
    assert f"confidence {leading.confidence}" in told.text
    assert leading.layer in told.text
    calm, _ = made(healthy(root=tmp_path))
    assert "Healthy" in calm.one("section", "verdict").text
    assert "No incident in the whole run." in calm.one("section", "verdict").text


def test_the_last_values_are_those_of_the_log(tmp_path):
    root, one = made(exploding(root=tmp_path))
    shown = {f.one("b").text: float(f.one("span", "now").one("data").attributes["value"])
             for f in root.every("figure", "graph") if "small" not in f.classes}
    last = {name: float(one.reading.chunks[-1].measured(name)[1][-1]) for name in ("loss", "grad_norm", "update_ratio", "lr")}
    assert shown == {"loss": last["loss"], "grad norm": last["grad_norm"], "update ratio": last["update_ratio"], "learning rate": last["lr"]}


def test_the_parameters_say_how_large_they_are_where_the_log_does(tmp_path):
    head = lambda root: [th.text for th in next(root.every("details", "parameters")).every("th")]  # twice
    root, _ = made(exploding(root=tmp_path / "a", weighed=True))
    assert head(root)[-1] == "last weight norm"
    first = [td.text for td in next(root.every("details", "parameters")).every("td")][:8]
    assert first[0] == "embed.proj.weight"
    assert float(first[-1]) == pytest.approx(64 * 0.02 * (1 + 257 / 2000), rel=5e-3)
    assert head(made(exploding(root=tmp_path / "b"))[0])[-1] == "last update ratio"


def test_the_page_has_all_its_parts_in_order(tmp_path):
    root, _ = made(rescued(root=tmp_path))
    assert [h.text for h in root.every("h2")][1:] == ["Curves", "Incidents", "Layers", "What was done, and noted", "Checkpoints", "Environment"]
    assert root.one("h1").text == "exploding"
    assert len(list(root.every("main"))) == 1
    head = root.one("header").text
    for fact in ("GPT 4L 64d 0.2M", "cpu", "of 600 steps"):
        assert fact in head
    assert [s.text for s in root.every("summary")][-1] == "Parameters: 10 tensors"
    manual = next(root.every("details", "manual"))
    assert manual_page("exploding-gradients").parts["Symptom"][1:] in "".join(d.text for d in root.every("details", "manual"))
    assert [d.text for d in manual.every("dt")][:2] == ["Symptom", "Why it happens"]


def test_what_was_done_is_told_with_when_and_by_whom(tmp_path):
    run = rescued(root=tmp_path)
    run.event("command", id="p-1", verb="pause", args={}, who={"origin": "viewer", "user": "ada", "host": "node7"}, outcome="applied", why="")
    run.event("command", id="c-1", verb="stop", args={}, who={"origin": "guard"}, outcome="refused", why="it has ended")
    run.event("checkpoint", id="000001-step-000000320", snapshot_step=320, bytes=2_400_000, sha256="cd" * 32, outcome="written", seconds=0.1)
    root, _ = made(run)
    rows = [[cell.text for cell in row.every("td")] for row in next(s for s in root.every("section") if s.attributes.get("id") == "actions").one("tbody").every("tr")]
    what = {row[2]: row for row in rows}
    assert what["rescued: back to the weights of step 190"][3] == "viewer"
    assert what["pause applied"][3] == "viewer, ada on node7"
    assert what["stop refused: it has ended"][3] == "guard"
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row[0]) for row in rows)
    saved_at = next(s for s in root.every("section") if s.attributes.get("id") == "checkpoints")
    assert [cell.text for cell in saved_at.one("tbody").every("td")][:4:2] == ["320", "2.4 MB"]
    assert "(gone)" in saved_at.text


HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e\"'&"


def test_names_and_notes_from_outside_stay_text(tmp_path):
    run = Run(root=tmp_path, name=HOSTILE, statement=HOSTILE)
    run.go(30).note(HOSTILE)
    info = run.dir.read_info()
    run.dir.write_info(replace(info, model=HOSTILE, argv=(HOSTILE,), versions={HOSTILE: HOSTILE}, device=HOSTILE,
                               tensors=tuple(replace(t, name=f"{HOSTILE}.{i}") for i, t in enumerate(info.tensors))))
    run.event("command", id="1", verb=HOSTILE, args={}, who={"origin": HOSTILE}, outcome="applied", why=HOSTILE)
    run.event("label", metric=HOSTILE, text=HOSTILE)
    run.end(error=HOSTILE)
    run.go(30)
    words = page(gather(source(run), now=NOW))
    root = parsed(words)
    assert not list(root.every("script"))
    assert not list(root.every("img"))
    assert "alert(1)" in root.one("h1").text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", words)


def every_element(element):
    for child in element.children:
        if not isinstance(child, str):
            yield child
            yield from every_element(child)


@pytest.mark.parametrize("make", [exploding, collapsing])
def test_nothing_on_the_page_can_run_or_reach_out(tmp_path, make):
    words = page(gather(source(make(root=tmp_path)), now=NOW))
    for element in every_element(parsed(words)):
        assert element.tag not in {"script", "iframe", "object", "embed", "link", "img", "form", "base", "a"}
        assert not [name for name in element.attributes if name.startswith("on") or name in ("href", "src", "style", "xlink:href")]
    assert "http:" not in words
    assert "https:" not in words
    assert "url(" not in words
    assert "@import" not in words
    policy = next(m for m in parsed(words).every("meta") if "http-equiv" in m.attributes).attributes["content"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_the_same_report_is_the_same_page(tmp_path):
    one = source(exploding(root=tmp_path))
    assert page(gather(one, now=NOW)) == page(gather(one, now=NOW))


def thinned(values, columns=200):
    return thin(np.arange(len(values)), np.asarray(values, np.float64), 0, len(values) - 1, columns)


def numbers(svg):
    return [(int(x), int(y)) for x, y in re.findall(r"(-?\d+) (-?\d+)", next(svg.every("path")).attributes["d"])]


def test_a_spike_of_one_step_among_many_is_drawn_to_its_top():
    values = 1 + 0.1 * np.sin(np.arange(20_000))
    values[7_777] = 2.0
    svg = parsed(plot.draw(plot.Plot(0, len(values) - 1, log=False, line=thinned(values), words="loss")))
    points = numbers(svg)
    x, y = min(points, key=lambda p: p[1])
    bulk = sorted(p[1] for p in points)[len(points) // 2]
    assert abs(x - 1000 * 7_777 / 19_999) <= 6
    assert y < bulk - 300


def test_what_is_not_finite_breaks_the_line_and_has_a_mark_where_it_begins():
    values = [2.0] * 40 + [math.nan] * 20 + [2.0] * 40 + [math.inf]
    svg = parsed(plot.draw(plot.Plot(0, 100, log=False, line=thinned(values, 101), words="loss")))
    assert next(svg.every("path")).attributes["d"].count("M") == 2
    assert [m.attributes["x"] for m in svg.every("text", "bad")] == ["40.00%", "100.00%"]


def test_flags_that_would_touch_stand_above_each_other():
    moments = tuple(Moment(at, "it", "info", "event") for at in (50, 51, 90))
    svg = parsed(plot.draw(plot.Plot(0, 100, log=False, line=thinned([1.0] * 101), moments=moments, words="loss")))
    assert [c.attributes["cy"] for c in svg.every("circle")] == ["-11", "-28", "-11"]
    assert "flags-2" in svg.one("div").classes


def test_layers_are_a_map_with_a_legend_and_a_run_without_them_has_none(tmp_path):
    root, _ = made(exploding(root=tmp_path))
    svg = root.one("svg", "heat")
    assert [t.one("title").text for t in svg.every("text", "layer")] == ["embed", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "head"]
    assert "high-2" in {p.attributes["class"] for p in svg.every("path")}
    assert len(list(root.one("ul", "legend").every("li"))) == 11
    bare, _ = made(str(DATA / "metrics.csv"))
    assert not list(bare.every("svg", "heat"))


@pytest.mark.parametrize("name", ["metrics.csv", "trainer_state.json"])
def test_logs_of_other_tools_get_a_page_as_well(name):
    root, one = made(str(DATA / name))
    assert root.one("h1").text == name
    assert len(list(root.every("article", "incident"))) == len(one.diagnosis.incidents)
    for note in one.reading.notes:
        assert note[1:] in root.one("header").text


def test_a_run_that_never_began_says_so():
    root, _ = made(create_run("early").name)
    assert root.one("section", "verdict").text == "Nothing was measured"
    assert "Not in this log: loss, grad norm, update ratio, learning rate." in root.one("main").text


def test_the_notebook_s_rules_judge_where_they_are_asked_for(tmp_path):
    one = source(exploding(root=tmp_path))
    root = parsed(page(gather(one, "notebook", now=NOW)))
    assert "grad/param ratio" in [f.one("b").text for f in root.every("figure", "graph")]
    assert len(list(root.every("article", "incident"))) == len(judged(one, "notebook").diagnosis.incidents)


def test_the_command_writes_once_and_says_where(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = healthy(30)
    assert main(["report", run.dir.name]) == 0
    name = f"{run.dir.name}-report.html"
    assert capsys.readouterr().out == f"{name}\n"
    first = Path(name).read_text()
    assert first.startswith("<!doctype html>")
    assert main(["report", run.dir.name]) == 2
    assert capsys.readouterr().err == f"tuimon: {name}: is there already; --force replaces it\n"
    Path(name).write_text("x" * 10 * len(first))
    assert main(["report", run.dir.name, "--force"]) == 0
    assert Path(name).read_text().endswith("</html>\n")
    capsys.readouterr()
    assert main(["report", str(DATA / "metrics.csv"), "-o", "one.html"]) == 0
    assert main(["report", str(DATA / "metrics.csv"), "-o", str(tmp_path / "none" / "one.html")]) == 2
    assert "there is no directory" in capsys.readouterr().err


def test_a_dash_is_the_output_and_a_link_is_not_followed(tmp_path, monkeypatch, capfdbinary):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(DATA / "metrics.csv"), "-o", "-"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"<!doctype html>")
    Path("precious").write_text("mine")
    Path("link.html").symlink_to("precious")
    assert main(["report", str(DATA / "metrics.csv"), "-o", "link.html", "--force"]) == 2
    assert Path("precious").read_text() == "mine"


def test_evidence_that_is_no_number_is_said_in_the_words_of_the_json(tmp_path):
    path = tmp_path / "sick.csv"
    path.write_text("step,loss\n" + "".join(f"{i},{'nan' if i > 100 else 2 + i % 3}\n" for i in range(140)))
    root, one = made(str(path))
    body = json.loads(json.dumps(one.json()))
    assert "NaN" in {e["value"] for i in body["incidents"] for e in i["evidence"]}
    assert "NaN" in {d.attributes["value"] for d in root.every("data")}
