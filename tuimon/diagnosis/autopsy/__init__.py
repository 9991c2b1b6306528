"""Where the first non-finite value of a run came from: what an autopsy found, and what that means. Pure values."""
