"""STARTS: a training process in a session of its own, followed with a screen or without.

Knows the standard library, record, control and diagnosis; neither torch nor textual. What runs inside the training
process is `boot`, which knows where the instrument is and loads it only when the script has loaded torch.
"""
