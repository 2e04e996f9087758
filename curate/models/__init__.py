"""Making scorers: models that the measuring pass scores documents with."""
