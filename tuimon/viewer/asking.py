"""The part of the app that lays something over a place: questions, help, the palette; and saves what is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuimon.viewer.actions import Order, find
from tuimon.viewer.placed import Placed
from tuimon.viewer.screens.over import Over
from tuimon.viewer.views import Frame


class Asking(Placed):
    """An app that asks before it does what cannot be undone."""

    def action_act(self, name: str) -> None:
        """The key path of all that changes a run: refused here, or asked, and if the answer is yes, submitted."""
        from tuimon.viewer.screens.confirm import Confirm

        action, frame = find(name), self._frame
        refusal = action.refusal(frame)
        if refusal is not None:
            self._front.flash(f"{action.word(frame)}: {refusal}")
            return
        if action.order is None or action.question is None:
            getattr(self._front, f"action_{name}")()   # asks by itself, about the run that is chosen there
            return
        # what was confirmed is what is sent, and on which picture, whatever happens meanwhile
        order, base = action.order(frame), frame.facts.revision
        self._lay(Confirm.of(action.question(frame), self._ink, self._glyphs),
                  lambda answer: self._submit(order, base) if answer == "yes" else None)

    def _lay(self, over: Over[Any], answered: Callable[[Any], object] | None = None) -> None:
        """One at a time: a key that is pressed twice asks once."""
        if not isinstance(self.screen, Over):
            self.push_screen(over, answered)   # type: ignore[arg-type]  # what comes of an answer is of no interest

    def _submit(self, order: Order, base: str) -> None:
        self._source.ask(order.verb, order.args, base)

    def action_help(self) -> None:
        """Show the keys."""
        from tuimon.viewer.screens.help import Help

        self._lay(Help(self._front.PLACE, self._frame, self._ink, self._glyphs))

    def action_palette(self) -> None:
        """Find what can be done here."""
        from tuimon.viewer.screens.palette import Palette

        self._lay(Palette(self._front.PLACE, self._frame, self._ink, self._glyphs), self._call)

    async def _call(self, what: str | None) -> None:
        if what is not None:
            await self.run_action(what, self._front)

    def action_picture(self) -> None:
        """Save what is on the screen, and say where; drawn beside the screen, which goes on."""
        self.run_worker(self._picture(self._frame, self.export_screenshot(title="tuimon")), group="picture")

    async def _picture(self, frame: Frame, svg: str) -> None:
        from tuimon.viewer.export import save

        try:
            saved = await asyncio.to_thread(save, svg, frame.facts.name, frame.header.step, Path.cwd())
        except OSError as error:
            self._front.flash(f"picture: it could not be saved here: {error.strerror or error}")
        else:
            also = "".join(f" and {path.suffix}" for path in saved[1:])
            self._front.flash(f"picture: saved as {saved[0].name}{also} in {saved[0].parent}", seconds=6.0)
