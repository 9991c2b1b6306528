"""REMEMBERS: metric vocabulary, log format, history, run directory.

Knows the standard library, numpy and (for one question) psutil. Knows nothing of torch or textual. What touches the
disk, the process table or the environment says so in its first lines; the rest are pure functions of values.
"""
