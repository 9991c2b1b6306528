"""The names of tuimon.integrations, with and without their frameworks."""

from __future__ import annotations

import sys

import pytest

import tuimon


@pytest.mark.parametrize(("name", "frameworks"), [
    ("HFCallback", ["transformers"]), ("LightningCallback", ["lightning", "pytorch_lightning"]),
])
def test_without_the_framework_one_line_says_what_to_install(
    name: str, frameworks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for framework in frameworks:
        monkeypatch.setitem(sys.modules, framework, None)
    with pytest.raises(ImportError) as caught:
        getattr(tuimon.integrations, name)
    assert str(caught.value) == f"tuimon.integrations.{name} needs {frameworks[0]}: pip install {frameworks[0]}"


def test_a_name_that_is_not_there_is_said_as_python_says_it() -> None:
    with pytest.raises(AttributeError, match=r"module 'tuimon.integrations' has no attribute 'KerasCallback'"):
        _ = tuimon.integrations.KerasCallback
    assert dir(tuimon.integrations) == ["HFCallback", "LightningCallback"]
