"""The runs: every run under the root, to look through, name, compare, delete and open."""
