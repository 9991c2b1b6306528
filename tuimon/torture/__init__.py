"""TORTURES: what can go wrong around a training, done to a real one, on this machine and its file system.

`table.FAULTS` is the list: each a function that does it once and raises `Broken` where what must hold did not. The
command runs it here, the tests run it in CI. Trainings are children of a nursery that has loaded torch once; only
`nursery`, `training` and `jobs` know torch. Nothing needs a privilege, and everything is removed at the end.
"""
