"""JUDGES: statistics, rules, engine, incidents. Pure folds over `record.Chunk`; no clock, disk, thread or order."""
