"""REMEMBERS: metric vocabulary, log format, history, run directory.

Knows the standard library, numpy and (for one question) psutil. Knows nothing of torch or textual. Only `segments`,
`rundir`, `events` and `liveness` touch the disk or the process table; the rest are pure functions of values.
"""
