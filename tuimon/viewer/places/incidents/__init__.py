"""The incidents: what was found, the stretch of curve that shows it, its numbers, what to do, its manual page."""
