"""What every test gets: no run of the person who tests is touched, and parts without torch are testable without it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("steady")

collect_ignore = (
    [] if importlib.util.find_spec("torch") else
    ["instrument", "faults", "integrations", "demo", "program", "bench",
     "launch/test_launch_script.py",
     "zoo/test_zoo_make.py", "zoo/test_zoo_making.py"]
)


@pytest.fixture(autouse=True)
def _own_runs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own place for runs and for what is remembered of them, and nobody's preferences."""
    monkeypatch.setenv("TUIMON_RUNS", str(tmp_path_factory.mktemp("runs")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "forgotten"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "nobody"))
    for name in ("TUIMON_THEME", "TUIMON_GLYPHS", "TUIMON_FPS", "TUIMON_MOUSE", "NO_COLOR", "COLORFGBG", "TUIMON_NOTIFY",
                 "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID"):
        monkeypatch.delenv(name, raising=False)


def shared_data() -> Path | None:
    """The labelled training curves, where they lie beside the repository."""
    for parent in Path(__file__).resolve().parents:
        found = parent / "shared" / "data"
        if found.is_dir():
            return found
    return None
