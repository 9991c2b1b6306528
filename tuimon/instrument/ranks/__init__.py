"""Training on many ranks: what this one is, what it holds of the whole, how all of them act as one."""
