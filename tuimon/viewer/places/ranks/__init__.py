"""The place Ranks: every rank of a distributed run, and who holds the others up."""
