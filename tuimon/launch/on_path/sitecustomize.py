"""Python imports this before the script that `tuimon run` started: it leaves no trace but a watch for torch.

The folder it lies in goes off the path, the environment becomes what it was, a `sitecustomize` of this machine is
imported as it would have been. Whatever goes wrong here must not keep a script from running.
"""  # noqa: INP001  # a folder for PYTHONPATH, not a package

from __future__ import annotations

import importlib
import os
import sys


def _begin() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    home = os.path.dirname(os.path.dirname(os.path.dirname(here)))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != here]
    sys.path.insert(0, home)  # for this one import: the rest of tuimon is found through its package
    try:
        from tuimon.launch import boot
    finally:
        sys.path.remove(home)
    boot.begin()
    mine = sys.modules.pop("sitecustomize", None)
    try:
        importlib.import_module("sitecustomize")  # the one that this folder stood before
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        if mine is not None:
            sys.modules["sitecustomize"] = mine


_begin()
