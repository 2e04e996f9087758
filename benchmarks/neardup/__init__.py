"""What both benchmarks of near duplicates share: exact similarities, data, the sides, scores."""
