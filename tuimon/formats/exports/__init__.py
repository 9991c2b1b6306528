"""What leaves tuimon: runs and logs in the formats of other tools.

A source is read twice, a stretch at a time: once for what it holds, once to write it. What is held at once is bounded
by a stretch and by the names of what was measured, never by the length of a run.
"""
