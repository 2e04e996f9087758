"""Exports: the documents of a plan as the files that a trainer reads.

One output for each pool, with its planned share: Megatron, OLMo, MosaicML and Hugging Face. Here is what
callers use. Cost: one read of the kept text, one pass of the tokenizer, and, where documents are sorted, one
write and read of the text in scratch. Not here: curated shards (pipeline/), training from a plan in place
(loader/).
"""

from curate.export.exporting import Exported, export
from curate.export.settings import Export

__all__ = ["Export", "Exported", "export"]
