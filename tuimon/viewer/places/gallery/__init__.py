"""Several live runs side by side, each with its verdict and its curves: the notebook's four, alive."""
