"""The table of actions as Textual bindings."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from tuimon.viewer.actions import Action, Place, actions_at

_OF_THE_APP = ("help", "leave", "picture", "incidents", "back")
_OF_ONE_KEY = ("panel", "choose", "read")
"""Their keys differ: the action is told which one it was."""


def bindings(place: Place) -> list[BindingType]:
    """The keys of one screen."""
    return [Binding(key, _what(action, i), action.help, show=False)
            for action in actions_at(place) for i, key in enumerate(action.keys)]


def _what(action: Action, key: int) -> str:
    if action.order is not None:
        return f"app.act('{action.name}')"
    if action.name in _OF_THE_APP:
        return f"app.{action.name}"
    return f"{action.name}({key})" if action.name in _OF_ONE_KEY else action.name
