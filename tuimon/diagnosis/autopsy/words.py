"""An autopsy in words: what was found, what that usually means in such a place, what to do. Pure; no colours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tuimon.diagnosis.autopsy.model import Autopsy, Place, Span
from tuimon.diagnosis.wording import count, number


@dataclass(frozen=True, slots=True)
class Usual:
    """What it usually is, in one kind of place."""

    meaning: str
    next: tuple[str, ...]
    """Ordered; what to do about the weights is said elsewhere."""


_HALF: Final = "train in bfloat16, or keep this layer in float32: float16 ends at 65,504"
_EPS: Final = "add an eps inside: sqrt(x + 1e-12), log(x + 1e-12), x / (n + 1e-12)"

FORWARD: Final[Mapping[Place, Usual]] = {
    "batch": Usual(
        "the data hold it: a broken file, a division in the preprocessing, a missing value that nobody replaced",
        ("find that sample and take it out: a smaller learning rate does not help",
         "check in the loader that torch.isfinite(x).all()")),
    "labels": Usual(
        "no label of that batch counts, and the mean over none is 0/0",
        ("leave such batches out, or divide by max(count, 1): a smaller learning rate does not help",
         "look at why a whole batch is prompt and padding: cutting at the maximal length may take the answers away")),
    "loss": Usual(
        "a log of 0, a division 0/0 (a mean over no label, an empty mask), or an exp of a large number",
        ("check that at least one label of that batch counts: a smaller learning rate does not help if none does",
         "compute it from logits (cross_entropy, not the log of a softmax), with an eps in each log and division")),
    "embedding": Usual(
        "a row of the table has grown without bounds, or the data hold a token that they should not",
        ("look at the tokens of that batch, the rarest first", "clip the gradients: rare tokens' rows move in leaps")),
    "attention": Usual(
        "its logits overflow (float16 ends at 65,504), or a row is masked entirely: the softmax of nothing is 0/0",
        ("see that each position may look at one other at least: a padded row often may not",
         "scale q and k before their product, or normalise them; use bfloat16",
         "a smaller learning rate keeps q and k from growing")),
    "norm": Usual(
        "a variance of zero: equal values are divided by 0, or the eps vanishes in float16",
        ("add an eps under the root that float16 can hold: 1e-5, not 1e-8",
         "look at what makes all values equal: a padded row, a dead layer before it")),
    "linear": Usual(
        "an overflow: what goes in, or its weights, have grown beyond what the type holds", (
            _HALF, "lower the learning rate and clip, if weights or activations grew before")),
    "activation": Usual(
        "an overflow: what goes in has grown", (_HALF, "lower the learning rate and clip, if activations grew before")),
    "code": Usual(
        "what it computes itself, between its parts: an exp of a large number, a division by 0, a log or a root at 0",
        ("look at its forward(): clamp what goes into an exp, and add an eps to a division, a log or a root", _HALF)),
    "parameters": Usual(
        "an earlier update broke them: they were not finite before that batch came",
        ("go back further, to a checkpoint whose weights are finite", "lower the learning rate and clip")),
    "weights": Usual(
        "an update too large: the weights went wrong gradually, and the batch is not to blame",
        ("lower the learning rate and clip at 1.0",)),
    "unknown": Usual(
        "a place to look at, no proof: what is nearer to the output was still finite on the way back",
        ("look at the batch of that step for empty or broken samples",)),
}
BACKWARD: Final[Mapping[Place, Usual]] = {
    "loss": Usual(
        "the derivative of the loss itself: a root or a norm at 0, a log near 0, a where() behind which 0 * inf stands",
        (_EPS, "mask before such an operation, not after it: where() lets NaN gradients through")),
    "code": Usual(
        "a derivative without bounds where the value has one: a root or a norm at 0, a where() behind which 0 * inf "
        "stands", (_EPS, "mask before such an operation, not after it: where() lets NaN gradients through")),
    "norm": Usual("the derivative of a root at a variance of 0", (_EPS,)),
    "attention": Usual("an overflow on the way back, or a row that is masked entirely",
                       ("see that each position may look at one other at least", _HALF)),
}


def usual(found: Autopsy) -> Usual:
    """What it usually is."""
    back = BACKWARD.get(found.place) if found.phase == "backward" else None
    return back or FORWARD[found.place]


def subject(found: Autopsy) -> str:
    """What is to blame, in a few words."""
    named = f"{found.module} ({found.kind})" if found.module and found.kind else found.module or found.kind
    return {
        "batch": f"the batch itself ({named})", "labels": f"the labels ({named})", "loss": "the loss itself",
        "weights": f"the weights, since step {count(found.weights_step or 0)}",
        "parameters": f"the weights of {named}", "unknown": f"perhaps {named}" if named else "unknown",
    }.get(found.place, named or "the model")


def layer(found: Autopsy) -> str | None:
    """The module within the model, where that is to blame and known by a replay."""
    inside = found.found_by == "replay" and found.place not in ("batch", "labels", "loss", "weights", "unknown")
    return found.module or None if inside else None


def span(of: Span | None, verb: str) -> str:
    """-3.76 to 3.53 went in; what is not finite is counted: 3 of 10 values came out NaN or infinite."""
    if of is None:
        return f"nothing measurable {verb}"
    if of.is_finite:
        return f"{number(of.low)} to {number(of.high)} {verb}"
    return f"{count(of.bad)} of {count(of.of)} values {verb} {'NaN or infinite' if math.isnan(of.low) else 'infinite'}"


def sentence(found: Autopsy) -> str:
    """What was found, as one sentence or two."""
    if found.found_by == "backward order":
        return f"Backward met the gradient of {found.module} first." if found.module else ""
    replayed = "In a replay of that batch"
    if found.place == "batch":
        return f"The batch itself is not finite: {span(found.went_in, 'are')} in {found.module}."
    if found.place == "labels":
        return f"{replayed} the model's output is finite, and every label ({found.module}) is -100: none counts."
    if found.place == "loss":
        if found.phase == "backward":
            return f"{replayed} values and gradients are finite within the model: the loss's own derivative is not."
        named = f" ({found.module or found.kind})" if found.module or found.kind else ""
        return f"{replayed} the model's output is finite: the loss itself{named} makes it."
    if found.place == "weights":
        return (f"With the weights of step {count(found.weights_step or 0)} the same batch is finite: "
                "the weights had changed since.")
    if found.place == "unknown":
        return f"A replay did not end: {'; '.join(found.notes)}."
    if found.place == "parameters":
        return f"{replayed} the weights of {found.module or found.kind} are not finite themselves."
    if found.phase == "backward":
        return (f"{replayed} all values are finite, and {subject(found)} is the first to turn a finite gradient into "
                f"one that is not: {span(found.went_in, 'reached it')}, {span(found.came_out, 'went on')}.")
    kind = found.came_out.dtype if found.came_out else ""
    return (f"{replayed} {subject(found)} is the first to make it: {span(found.went_in, 'went in')}, "
            f"{span(found.came_out, 'came out')}{f' ({kind})' if kind else ''}.")


def advice(found: Autopsy) -> tuple[str, ...]:
    """What to do, in order; the weights are another matter."""
    saved = (f"look at that batch: {found.batch} in the run's directory",) if found.batch else ()
    data = found.place in ("batch", "labels")
    return (*saved, *usual(found).next) if data else (*usual(found).next, *saved)
