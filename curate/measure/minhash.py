"""MinHash signatures (Broder 1997): how alike two texts are, from 4 bytes a slot (512 by default).

A text is normalised into words; its shingles are the different runs of `ngram` words, or characters of its
words with one space between them. The share of slots that two signatures have in common estimates the
Jaccard similarity of their sets of shingles, with a standard deviation of at most sqrt(J (1 - J) /
num_hashes), .041 at J = .7 and 128 slots; that of `fast` is 6 % less for a thousand shingles, 29 % for
sixty. Slots are filled by fast similarity sketching (Dahlgaard, Knudsen and Thorup 2017, arXiv:1704.04370),
or by a hash function for each slot. Any slots are as good as any others: bands take as many as they need.

A text with fewer words than a shingle is one shingle; one without words has no signature. Every shingle
counts for the signature, however long the text; their number is exact up to `max_shingles` different ones
and then estimated from a sample by hash, within about 0.2 %.

The presets have shingles, normalisation and number of slots as published, not the hash functions; all of
them publish `classic`. Their bands are in `curate.dedup.scurve`. Words are not cut by a tokenizer, neither
those of `datatrove` nor the byte pairs of `dolma3`; `redpajama` publishes no signature for texts of fewer
than 13 words.

Cost: about 260 MB/s per core for English with 128 slots, 180 with `normalize: datatrove`; `classic` costs
the same where the processor has AVX2 and twice as much elsewhere. Not here: candidates, verification
(dedup/).
"""

import json
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from curate.errors import ConfigError
from curate.measure.stage import StageModel
from curate.schema import fingerprint
from curate.text import NativeSpec

Preset = Literal["fineweb", "datatrove", "dolma3", "redpajama", "datajuicer"]

PRESETS: dict[str, dict[str, Any]] = {
    "fineweb": {"ngram": 5, "normalize": "datatrove", "num_hashes": 112},
    "datatrove": {"ngram": 5, "normalize": "datatrove", "num_hashes": 112},
    "dolma3": {"ngram": 5, "normalize": "word", "num_hashes": 286},
    "redpajama": {"ngram": 13, "normalize": "redpajama", "num_hashes": 128},
    "datajuicer": {"ngram": 5, "normalize": "space", "num_hashes": 256},
}
"""What a preset sets; settings that are given beside it win."""


class MinHash(StageModel):
    """Columns `minhash.signature`, `minhash.num_shingles` and `minhash.is_sampled`."""

    kind: ClassVar[str] = "minhash"
    version: ClassVar[int] = 1

    preset: Preset | None = None
    """Published settings; null means those below."""
    unit: Literal["word", "char"] = "word"
    """What shingles are runs of: words, or characters of the words with one space between them."""
    ngram: int = Field(default=5, ge=1, le=256)
    """Words or characters in a shingle."""
    normalize: Literal["word", "space", "datatrove", "redpajama"] = "word"
    """How text becomes words. `word`: lower case, runs of letters, digits and _, as `\\w+` has them. `space`:
    lower case, what white space separates; the default for characters. `datatrove`: as `space`, without
    punctuation, control characters and accents, every run of digits one 0. `redpajama`: as `space`, without
    ASCII punctuation, NFD."""
    num_hashes: int = Field(default=128, ge=1, le=1024)
    """Slots of a signature, 4 bytes each. 128 serve the bands 14 x 8, 16 x 8, 14 x 9, 9 x 13 and 5 x 25."""
    sketch: Literal["fast", "classic"] = "fast"
    """How slots are filled: by fast similarity sketching, or by a hash function for each slot."""
    seed: int = Field(default=1, ge=0, lt=1 << 64)
    """Chooses the hash functions; signatures of different seeds cannot be compared."""
    max_shingles: int = Field(default=1 << 20, ge=1, le=1 << 21)
    """Different shingles of a text that are counted exactly; 16 bytes of memory each, on each thread."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        defaults = {"normalize": "space"} if values.get("unit") == "char" else {}
        name = values.get("preset")
        return {**defaults, **(PRESETS.get(name, {}) if isinstance(name, str) else {}), **values}

    @model_validator(mode="after")
    def _presets_have_words(self) -> "MinHash":
        if self.preset is not None and self.unit == "char":
            raise ConfigError(f"minhash.unit is word for every preset, leave out one of them: {self.preset}")
        return self

    def _settings(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"preset"})

    def needs(self) -> NativeSpec:
        """The signatures, and nothing else."""
        return NativeSpec(minhash=json.dumps(self._settings(), sort_keys=True))

    def fingerprint(self) -> str:
        """Hash what decides the columns; a preset is what it sets."""
        return fingerprint([self.kind, self.version, self._settings()])
