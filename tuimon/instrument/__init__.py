"""MEASURES: attach, hooks, transfer, writer, snapshots, checkpoints, rescue, guard. Knows torch, never textual."""
