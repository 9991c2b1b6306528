"""Every reader of bytes that come from outside, and somebody who makes them up.

`python -m tests.fuzz log --seconds 600`, from the root of the repository; `--help` names the readers.
"""
