"""What every test gets: no run of the person who tests is touched, and parts without torch are testable without it."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("steady", deadline=None)
# CI tries the same ones each time, so that it need not try many: the search goes on at home, with others in each run
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("ci" if os.environ.get("CI") else "steady")

collect_ignore = (
    [] if importlib.util.find_spec("torch") else
    ["instrument", "faults", "integrations", "demo", "program", "bench",
     "launch/test_launch_script.py",
     "zoo/test_zoo_make.py", "zoo/test_zoo_making.py"]
)


NIGHT = 2000
"""Seconds for what runs by night and says nothing of its own: minutes of training, beside whatever else the machine does."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("nightly") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(NIGHT))


@pytest.fixture(scope="session")
def _places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for each test; pytest's own way to name one looks through those of all tests before it."""
    root = tmp_path_factory.mktemp("runs")
    return (root / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_runs(_places: Iterator[Path], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own place for runs and for what is remembered of them, and nobody's preferences."""
    runs = next(_places)
    runs.mkdir(mode=0o700)
    monkeypatch.setenv("TUIMON_RUNS", str(runs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "forgotten"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "nobody"))
    for name in ("TUIMON_THEME", "TUIMON_GLYPHS", "TUIMON_FPS", "TUIMON_MOUSE", "NO_COLOR", "COLORFGBG", "TUIMON_NOTIFY",
                 "TUIMON_READONLY", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID"):
        monkeypatch.delenv(name, raising=False)


def shared_data() -> Path | None:
    """The labelled training curves, where they lie beside the repository."""
    for parent in Path(__file__).resolve().parents:
        found = parent / "shared" / "data"
        if found.is_dir():
            return found
    return None
