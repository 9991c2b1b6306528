"""SHOWS: feed, frame, actions, charts, screens. The only place that knows textual; never torch."""
