"""`python -m tuimon.notify RUN_DIR ATTEMPT`: the helper. Started by `begin`, never by hand."""

from __future__ import annotations

import os
import sys

from tuimon.notify.helper import main

if __name__ == "__main__":
    # `begin` put one entry in front; commands of the person's may be of another Python, which it would break
    os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH", "").partition(os.pathsep)[2]
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
