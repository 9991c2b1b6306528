"""PREFERS: config.toml, read by viewers and by training processes, and edited without losing what a person wrote.

The standard library only. What the words in it mean is said by those whose words they are.
"""
