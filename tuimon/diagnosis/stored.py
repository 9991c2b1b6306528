"""A diagnosis as JSON, complete, and back: what a cache holds of a long run. Pure.

`model.diagnosis_json` is what people's programs read; this here is for ourselves and may change with every version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tuimon.diagnosis.model import CATEGORIES, SEVERITIES, Badge, Diagnosis, Evidence, Incident, NotEvaluated, Usual

_CONFIDENCES = ("low", "medium", "high")
_STATES = ("open", "resolved")


def stored(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON; numbers that are none may become words on the way."""
    return asdict(diagnosis)


def recalled(body: Mapping[str, Any]) -> Diagnosis:
    """The diagnosis that was stored; ValueError, KeyError or TypeError where it is none."""
    return Diagnosis(
        int(body["steps"]), tuple(_incident(i) for i in body["incidents"]),
        tuple(NotEvaluated(str(n["rule"]), tuple(map(str, n["needs"]))) for n in body["not_evaluated"]),
        tuple(Badge(_one(b["category"], CATEGORIES), _one(b["severity"], (None, *SEVERITIES)), str(b["word"]),
                    _whole(b["since"])) for b in body["badges"]),
        {str(name): _usual(u) for name, u in body["usual"].items()},
        {str(name): tuple((int(step), None if u is None else _usual(u)) for step, u in course)
         for name, course in body["once"].items()},
    )


def _usual(body: Mapping[str, Any]) -> Usual:
    return Usual(float(body["low"]), float(body["high"]), float(body["median"]))


def _incident(body: Mapping[str, Any]) -> Incident:
    known = dict(body)
    evidence = tuple(
        Evidence(str(e["metric"]), float(e["value"]), float(e["limit"]), float(e["usual"]))
        for e in known.pop("evidence"))
    for name in ("rule", "code", "headline", "why", "word"):
        known[name] = str(known[name])
    for name in ("layer", "cause"):
        known[name] = None if known[name] is None else str(known[name])
    _one(known["category"], CATEGORIES)
    _one(known["severity"], SEVERITIES)
    _one(known["state"], _STATES)
    _one(known["confidence"], _CONFIDENCES)
    known["onset_step"], known["detected_step"] = int(known["onset_step"]), int(known["detected_step"])
    known["resolved_step"] = _whole(known["resolved_step"])
    known["next"] = tuple(map(str, known["next"]))
    known["rescue_helps"] = bool(known["rescue_helps"])
    before = tuple((int(step), _incident(told)) for step, told in known.pop("before"))
    return Incident(evidence=evidence, before=before, **known)


def _one(value: Any, of: tuple[Any, ...]) -> Any:
    if value not in of:
        raise ValueError(f"{value!r} is none of {of}")
    return value


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
