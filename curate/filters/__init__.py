"""Rules over measured columns: published rule sets as presets, and rules of the recipe's own."""
