"""The training loader: batches that obey a plan, resume exactly on any topology, and change weights as told.

`open` is the way in; it needs the extra `torch`, importing this package does not.
"""

from curate.loader.opening import Access, open
from curate.loader.settings import Constants
from curate.loader.tokenizer import Tokenizer

__all__ = ["Access", "Constants", "Tokenizer", "open"]
