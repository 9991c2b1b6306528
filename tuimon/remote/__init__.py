"""REACHES: the runs of another machine, over the user's own ssh. Stdlib; only `link` and `host` start anything."""
