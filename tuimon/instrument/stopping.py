"""What a stopped training loop sees. No torch needed."""


class TrainingStopped(SystemExit):
    """Raised at a step boundary when a run was told to stop and its loop did not leave by itself.

    A SystemExit with status 0, so that a script without a handler ends cleanly, `finally` blocks included.
    """

    def __init__(self, step: int) -> None:
        super().__init__(0)
        self.step = step
