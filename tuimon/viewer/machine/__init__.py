"""What the machine and the training process's tree do at this moment, as the viewer sees it. Knows no terminal.

`counts` reads counters, `rates` turns two readings into what happens per second, `sampler` does both once a second in a
thread of its own, `gpu` and `gpus` ask the driver in a process of its own. Nothing of this touches training: only what
the kernel counts anyway is read, and nothing that takes a lock of the process that is looked at.
"""
