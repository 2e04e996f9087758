"""Duplicates: who is a copy of whom (resolve), and which copy stays (plan)."""
