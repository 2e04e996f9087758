"""The report of a run, as one HTML page and as JSON, and `explain` for one document."""
