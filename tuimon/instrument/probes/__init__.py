"""Activation probes: what sampled forward passes tell of attention, hidden units, blocks and logits."""
