"""Simulated runs of each law with known parameters, for law_coverage.py: one module a law."""
