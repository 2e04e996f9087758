"""The training loader: batches of planned documents, by weights that a log can replay."""
