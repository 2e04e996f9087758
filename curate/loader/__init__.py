"""The training loader: batches that obey a plan, resume exactly on any topology, and change weights as told."""
