"""CALLS: tells a person who is not looking what happens to a run: their command, a webhook, or what apprise reaches.

A small process of its own beside each run, started by `attach` where somebody wants it, reads the run directory like
any viewer and sends. Training never waits for it and does not notice if it dies. Standard library and record; pure are
`targets`, `wishes`, `message`, `telling` and `budget`; `channels`, `delivery`, `ledger`, `helper` and `begin` act.
"""
