"""ASKS: commands, the table of run states, the spool.

Standard library only. `spool` touches the disk; `commands` and `states` are pure.
"""
