"""Training data from a plan: what is read, in which order, as tokens; importing it does not import torch."""
