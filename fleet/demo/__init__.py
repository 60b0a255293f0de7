"""`make demo`: everything on one bare machine, started, watched and ended together. Not for production."""
