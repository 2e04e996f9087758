"""The training loader: documents of a plan, a delivered folder or token files, as tokens in a seeded order.

`index.py` puts documents into tables by pool and block; `reading.py` gives their tokens.
"""
