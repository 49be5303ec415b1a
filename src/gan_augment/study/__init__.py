"""Records, statistics and the report: everything computed from trial folders, and from nothing else. No torch."""
