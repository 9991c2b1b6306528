"""The table of actions as Textual bindings."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from tuimon.viewer.actions import ACTIONS, Action, actions_at
from tuimon.viewer.wanted import Place

_OF_THE_APP = ("help", "leave", "picture", "back", "palette", "zoom", "pan", "whole", "follow", "scrub", "jump", "play",
               "speed", "point", "log_in", "suspend_process")
"""The same wherever one is."""
_ALIKE = ("help", "leave", "picture", "smoother", "target")
"""Their keys all do the same."""

_ALONG = ("zoom", "pan", "whole", "point")
"""What is done along the axis: of a comparison its own, not the one that the places of a run share."""


def bindings(place: Place) -> list[BindingType]:
    """The keys of one screen; the key that led there leads back."""
    there: list[BindingType] = [Binding(key, "app.back", action.help, show=False)
             for action in ACTIONS if action.name == f"go_{place}" for key in action.keys]
    return [*there, *(Binding(key, called(action, i, place), action.help, show=False)
                      for action in actions_at(place) for i, key in enumerate(action.keys))]


def pressed(key: str, place: Place) -> str | None:
    """What a key calls in a place; None where it does nothing."""
    return next((called(action, action.keys.index(key), place) for action in actions_at(place) if key in action.keys),
                None)


def called(action: Action, key: int, place: Place) -> str:
    """What a key calls in a place; an action of several keys is told which one it was."""
    if action.order is not None or action.writes:
        return f"app.act('{action.name}')"
    if action.group == "place":
        return f"app.go('{action.name.removeprefix('go_')}')"
    is_own = action.name not in _OF_THE_APP or (place == "compare" and action.name in _ALONG)
    name = action.name if is_own else f"app.{action.name}"
    return f"{name}({key})" if len(action.keys) > 1 and action.name not in _ALIKE else name
