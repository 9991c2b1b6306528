"""No text from outside has a way to a terminal but through the gates: a lint of every file, and of planted offences."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

GATES = {
    "print": {"record/printing.py"},                 # `print_words`, whose words are `printable`
    "Segment": {"viewer/widgets/picture.py"},        # cells of pictures: a canvas and a row take nothing that is not seen
    "Text": {"viewer/screens/confirm.py"},           # `styled`, which cleans
    "sys.stdout.write": {"viewer/machine/gpu.py", "torture/nursery.py"},   # JSON, ASCII, into the pipe of whoever started it
    "sys.stdout.buffer.write": {"cli/report.py"},    # HTML, whose texts are clean and escaped
    "os.write": {
        "viewer/opening.py",                         # the name that is being opened, cleaned
        "viewer/outlet.py", "viewer/background.py",  # what Textual drew; a question
        "viewer/apart.py", "viewer/listening.py",    # pipes of our own
        "notify/begin.py", "remote/link.py", "remote/reached.py",   # pipes
        "remote/far/agent.py", "remote/far/files.py", "remote/mirror.py",   # a pipe; files
        "remote/steps.py",                           # how far a connection is, and what ssh says, cleaned
    },
}
"""What writes, and the files that may call it."""
MARKUP = {"Static", "notify"}
"""What reads markup unless it is told not to."""
BANNED = {"Input", "from_markup", "Text.from_ansi", "Content.from_ansi", "copy_to_clipboard", "open_url", "set_window_title"}
"""Takes text as it is, or sends it as a command; `Typed` stands for Input."""
WIDGETS = {"Static", "Input"}
"""Textual's own that are used at all: cells of a DataTable, lines of a Log take markup and controls."""
ATTRIBUTES = {"border_title", "border_subtitle", "tooltip", "title", "sub_title"}
"""Assigned, they are drawn, as markup."""
MODULES = {"rich.markup", "textual.markup", "curses", "readline"}


def called(node: ast.expr) -> str:
    """"a.b.c" of what is called."""
    if isinstance(node, ast.Attribute):
        inner = called(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def offences(source: str, where: str) -> Iterator[str]:
    """Lines with a way around the gates. `where`: the file below tuimon/."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = called(node.func)
            last = name.rsplit(".", 1)[-1]
            gate = next((GATES[key] for key in (name, last if last == name else "") if key in GATES), None)
            if gate is not None and where not in gate:
                yield f"{where}:{node.lineno}: {name}() is only for {', '.join(sorted(gate))}"
            if name.startswith(("sys.stdout.", "sys.stderr.")) and last in ("write", "writelines") and gate is None:
                yield f"{where}:{node.lineno}: {name}(): print_words() is there"
            if name in BANNED or (last in BANNED and last[0].islower()):
                yield f"{where}:{node.lineno}: {name}() takes text as it is"
            if last in MARKUP and where.startswith("viewer/") and not _is_plain(node):
                yield f"{where}:{node.lineno}: {name}() without markup=False"
            if any(k.arg == "link" for k in node.keywords) and last == "Style":
                yield f"{where}:{node.lineno}: a style with a link"
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and where.startswith("viewer/"):
            for target in getattr(node, "targets", None) or [node.target]:
                if isinstance(target, ast.Attribute) and target.attr in ATTRIBUTES and not isinstance(node.value, ast.Constant):
                    yield f"{where}:{node.lineno}: {target.attr} is drawn as markup"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            listed = {alias.name for alias in node.names}
            named = listed if isinstance(node, ast.Import) else {node.module or ""}
            if "textual.widgets" in named and (listed - WIDGETS or isinstance(node, ast.Import)):
                yield f"{where}:{node.lineno}: {', '.join(sorted(listed - WIDGETS))} draws text as it is"
            yield from (f"{where}:{node.lineno}: {one} is not for text from outside" for one in sorted(named & MODULES))


def _is_plain(node: ast.Call) -> bool:
    return any(k.arg == "markup" and isinstance(k.value, ast.Constant) and k.value.value is False for k in node.keywords)


def test_no_text_goes_around_the_gates():
    sources = sorted((ROOT / "tuimon").rglob("*.py"))
    found = [one for path in sources for one in offences(path.read_text(), path.relative_to(ROOT / "tuimon").as_posix())]
    assert not found, "\n".join(found)


def test_every_gate_is_still_one():
    for name, files in GATES.items():
        for file in files:
            calls = {called(node.func) for node in ast.walk(ast.parse((ROOT / "tuimon" / file).read_text())) if isinstance(node, ast.Call)}
            assert name in calls, f"{file} does not call {name}() any more"


@pytest.mark.parametrize(("where", "planted"), [
    ("cli/runs.py", "print(entry.name)"), ("cli/runs.py", "print(f'{name}', file=sys.stderr)"), ("record/status.py", "print('x')"),
    ("cli/plot.py", "sys.stdout.write(lines)"), ("cli/plot.py", "sys.stderr.write(str(error))"), ("cli/report.py", "sys.stdout.writelines(lines)"),
    ("viewer/app.py", "os.write(1, words)"), ("viewer/app.py", "self.notify(str(error))"), ("viewer/app.py", "self.app.notify(f'{a}', markup=True)"),
    ("viewer/a.py", "Static(name)"), ("viewer/a.py", "Static(f'{name}', id='x')"), ("viewer/a.py", "Static(name, markup=flag)"),
    ("viewer/a.py", "widgets.Static(escape(name))"), ("viewer/a.py", "self.border_title = name"), ("viewer/a.py", "box.border_subtitle = f'{name}'"),
    ("viewer/a.py", "self.app.title = name"), ("viewer/a.py", "self.tooltip = name"), ("viewer/a.py", "from textual.widgets import DataTable, Static"), ("viewer/a.py", "from textual.widgets import RichLog"),
    ("viewer/a.py", "Text.from_markup(name)"), ("viewer/a.py", "Content.from_markup(f'{name}')"), ("viewer/a.py", "Text(name)"), ("viewer/a.py", "Segment(name, style)"),
    ("viewer/a.py", "Input(value=name)"), ("viewer/a.py", "from rich.markup import escape"), ("viewer/a.py", "import curses"), ("viewer/a.py", "import textual.widgets"),
    ("viewer/a.py", "self.app.copy_to_clipboard(name)"), ("viewer/a.py", "Style(link=url)"), ("viewer/a.py", "self.app.open_url(url)"),
])
def test_a_planted_offence_is_found(where, planted):
    assert len(list(offences(planted, where))) >= 1


@pytest.mark.parametrize(("where", "harmless"), [
    ("cli/runs.py", "print_words(f'{name}', sys.stderr)"), ("viewer/a.py", "Static('', markup=False)"), ("viewer/a.py", "self.notify(words, markup=False)"),
    ("viewer/a.py", "TITLE = 'tuimon'"), ("viewer/a.py", "self.title = 'tuimon'"), ("viewer/a.py", "yield Typed(value=name)"), ("formats/a.py", "html.escape(name)"),
    ("formats/a.py", "re.escape(name)"), ("diagnosis/a.py", "math.log(x)"), ("formats/a.py", "self.title = name"), ("viewer/a.py", "from textual.widgets import Input, Static"), ("diagnosis/a.py", "file.write(name)"),
])
def test_what_is_harmless_is_left_alone(where, harmless):
    assert list(offences(harmless, where)) == []
