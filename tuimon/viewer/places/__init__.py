"""Places: the screens a person can be in, one folder each."""
