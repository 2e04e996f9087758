"""Scaling laws: what more tokens, repeats, parameters and other mixtures do to a loss; fitted from runs."""
