"""One file per rule; `RULES` is the literal list of all of them."""
