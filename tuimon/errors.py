"""The exception tree. Each message is one line: what was given and what is wanted.

    TuimonError
    ├── UsageError          what the caller gave cannot work (exit status 2)
    │   ├── AttachError     tuimon.attach cannot measure this model or optimizer
    │   └── RunNotFound     no run by that name, or none at all
    ├── LogError            a log or run directory that cannot be read (exit status 2)
    ├── CommandError        a command that is malformed
    └── CheckpointError     a checkpoint that is damaged, foreign or unsafe to load
"""


class TuimonError(Exception):
    """Base of everything that tuimon raises on purpose."""


class UsageError(TuimonError, ValueError):
    """The caller gave something that cannot work."""


class AttachError(UsageError):
    """The model or the optimizer cannot be measured."""


class RunNotFound(UsageError):
    """No run matches."""


class LogError(TuimonError):
    """A log or run directory cannot be read."""


class CommandError(TuimonError, ValueError):
    """A command is malformed."""


class CheckpointError(TuimonError):
    """A checkpoint is damaged, foreign or unsafe to load."""
