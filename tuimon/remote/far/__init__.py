"""What runs on the far side: read-only, stdlib alone, from Python 3.8 on. It is sent over where it is not installed.

The modules import each other by `tuimon.remote.far`, under which name they arrive (see `host.bundle`).
"""
