"""The page that `tuimon autopsy` prints. Pure: values in, lines out."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence

from tuimon.diagnosis.autopsy.model import Autopsy, Sight, Span
from tuimon.diagnosis.autopsy.words import advice, sentence, subject, usual
from tuimon.diagnosis.wording import count, number

_WORDS = {"loss": "the loss", "grad_norm": "the gradient norm", "param_norm": "the norm of the weights",
          "update_norm": "the norm of the update"}


def page(found: Autopsy, width: int, where: str, clean: Callable[[str], str]) -> Iterator[str]:
    """Lines of at most `width` characters; tables may be wider. `where`: the run's directory, "" for a file.

    `clean` makes names and notes from outside safe.
    """
    values = " and ".join(f"{_WORDS.get(name, clean(name))} was {number(value)}"
                          for name, value in sorted(found.values.items(), reverse=True))
    yield f"step {count(found.step)}: {values or 'it did not end'}"
    yield f"first: {clean(subject(found))}"
    yield f"found by: {_how(found)}"
    yield ""
    said = sentence(found)
    if said:
        yield from _wrapped(clean(said), width)
    if found.chain:
        yield ""
        yield from _table(found, clean)
    yield ""
    yield from _wrapped(f"What it usually is: {usual(found).meaning}.", width)
    yield "What to do:"
    steps = advice(found)
    for i, line in enumerate(steps, start=1):
        yield from _wrapped(f"{clean(line)}{'.' if i == len(steps) else ';'}", width, f"  {i}. ")
    for note in found.notes:
        yield from _wrapped(clean(note), width, "note: ")
    if found.batch and where:
        place = json.dumps(f"{clean(where)}/{clean(found.batch)}", ensure_ascii=False)   # a name may hold quotes
        yield f"the batch: torch.load({place}, weights_only=True)"


def _how(found: Autopsy) -> str:
    if found.found_by == "backward order":
        return "backward order, the fallback: among the gradients that are not finite, the one nearest to the output"
    passes = f", forward pass {found.micro} of {found.micros}" if found.micros > 1 else ""
    if found.weights_step is None:
        return f"a replay of the batch{passes}"
    apart = found.step - 1 - found.weights_step
    weights = f"the weights of step {count(found.weights_step)}"
    if apart > 0:
        weights += f", {count(apart)} step{'s' if apart > 1 else ''} older than it had"
    elif apart < 0:
        weights += ", which are finite still"
    return f"a replay of the batch{passes} with {weights} ({found.seconds:.2f} s of training time)"


def _table(found: Autopsy, clean: Callable[[str], str]) -> Iterator[str]:
    back = found.phase == "backward" and bool(found.module)
    rows = [("", "module", "kind", *(("gradient in", "handed on") if back else ("largest in", "largest out")))]
    for sight in found.chain:
        mark = ">" if (sight.module, sight.kind) == (found.module, found.kind) and sight.kind else ""
        rows.append((mark, clean(_name(sight)), clean(sight.kind), _largest(sight.went_in), _largest(sight.came_out)))
    yield from _columns(rows)


def _name(sight: Sight) -> str:
    return sight.module or "the model"


def _largest(span: Span | None) -> str:
    return "" if span is None else number(span.largest)


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [c.rjust(w) if i > 2 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        yield "  ".join(cells).rstrip()


def _wrapped(text: str, width: int, first: str = "") -> Iterator[str]:
    yield from textwrap.wrap(text, width, initial_indent=first, subsequent_indent=" " * len(first),
                             break_on_hyphens=False)
