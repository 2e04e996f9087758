"""Data selection and curation for pretraining corpora."""
