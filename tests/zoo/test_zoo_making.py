"""Making goes on where it stopped, and one run that fails does not take the others with it."""

from __future__ import annotations

from tests.zoo.cache import path_of
from tests.zoo.making import make_all
from tests.zoo.split import Run


def test_what_is_there_stays_and_what_fails_is_told_by_name(tmp_path, capfd):
    there, wrong = Run("plain-gpt", 0), Run("no-such-kind", 3)
    path_of(tmp_path, there).write_bytes(b"made before")
    assert make_all([there, wrong], tmp_path) == [wrong]
    assert path_of(tmp_path, there).read_bytes() == b"made before"
    assert [path.name for path in tmp_path.iterdir()] == ["plain-gpt-0.npz"]
    said = capfd.readouterr().err
    assert "1 of 2 recordings are there" in said
    assert "[1/1] no-such-kind-3" in said
    assert "FAILED with status 1" in said
