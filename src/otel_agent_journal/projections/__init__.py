"""Pure folds over events: the same events in any order, or twice, give the same result."""
