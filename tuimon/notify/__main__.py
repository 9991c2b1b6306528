"""`python -m tuimon.notify RUN_DIR ATTEMPT`: the helper. Started by `begin`, never by hand."""

from __future__ import annotations

import sys

from tuimon.notify.helper import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
