"""The table of actions as Textual bindings."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from tuimon.viewer.actions import ACTIONS, Action, actions_at
from tuimon.viewer.wanted import Place

_OF_THE_APP = ("help", "leave", "picture", "back", "palette", "zoom", "pan", "whole", "follow", "scrub", "jump", "play",
               "speed", "point", "suspend_process")
"""The same wherever one is."""
_ALIKE = ("help", "leave", "picture", "smoother", "target")
"""Their keys all do the same."""


def bindings(place: Place) -> list[BindingType]:
    """The keys of one screen; the key that led there leads back."""
    there: list[BindingType] = [Binding(key, "app.back", action.help, show=False)
             for action in ACTIONS if action.name == f"go_{place}" for key in action.keys]
    return [*there, *(Binding(key, called(action, i), action.help, show=False)
                      for action in actions_at(place) for i, key in enumerate(action.keys))]


def called(action: Action, key: int) -> str:
    """What a key calls; an action of several keys is told which one it was."""
    if action.order is not None:
        return f"app.act('{action.name}')"
    if action.group == "place":
        return f"app.go('{action.name.removeprefix('go_')}')"
    name = f"app.{action.name}" if action.name in _OF_THE_APP else action.name
    return f"{name}({key})" if len(action.keys) > 1 and action.name not in _ALIKE else name
