"""Near duplicates: what a recipe says under `dedup.minhash`.

Candidates are documents whose MinHash signatures share a band; each pair of them is checked against the
threshold on the similarity of their shingle sets, and only checked pairs count. A document is dropped only if
it is itself similar enough to one that stays, so clusters cannot drift (`cluster: connected` is the usual
transitive closure instead).

Not here: how it is done (pipeline/near.py, and `near/` of the native core), bands (scurve.py).
"""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from curate.dedup.keep import KeepRule
from curate.dedup.scurve import Bands, preset_bands, solve
from curate.errors import ConfigError
from curate.schema import Settings

DUPLICATE = "minhash.duplicate"
"""Reason of a document that is similar to one that stays."""

_MAX_SOLVED = 0.99


class BandSettings(Settings):
    """How the slots of a signature are divided."""

    num_bands: int = Field(ge=1, le=1024)
    num_rows: int = Field(ge=1, le=1024)


class Boilerplate(Settings):
    """Lines that many documents of a source share, which are discounted before texts are compared."""

    min_share: float = Field(default=0.05, gt=0, le=1)
    """A line is boilerplate if this share of the source's documents has it, counted in a sample."""
    min_docs: int = Field(default=20, ge=2)
    """And this many documents of the sample."""
    sample_docs: int = Field(default=100_000, ge=100, le=10_000_000)
    """Documents of the sample, about, drawn by the hash of their content; about 5 kB of memory each."""


class Rails(Settings):
    """What is suspicious; a warning, or the end of the run."""

    max_cluster_share: float | None = Field(default=0.1, gt=0, le=1)
    """A cluster that holds more than this share of a source's documents; null never warns."""
    max_loss_share: float | None = Field(default=0.5, gt=0, le=1)
    """A source that loses more than this share of its documents to near duplicates."""
    max_rejected_share: float | None = Field(default=0.95, gt=0, le=1)
    """Candidate pairs of which more than this share is not similar enough: bands that do not fit."""
    min_docs: int = Field(default=1000, ge=1)
    """Sources with fewer documents, and fewer candidate pairs, are not judged."""
    stop: bool = False
    """Stop with an error instead of a warning."""


class Index(Settings):
    """Documents that stayed in earlier corpora, such as dumps of a crawl, kept for the next ones."""

    path: str
    """Folder of the index; made where it is missing."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,99}$")
    """What this corpus is called in it; null is the name of the recipe."""
    mode: Literal["both", "against", "within"] = "both"
    """`both`: a document goes for a similar one of the index or of this corpus; `against`: of the index
    alone; `within`: of this corpus alone."""

    @field_validator("path")
    @classmethod
    def _folder_is_local(cls, value: str) -> str:
        if "://" in value:
            raise ConfigError(f"an index is a local folder, only shards may be URLs: {value}")
        return value

    add: bool = True
    """Add the documents that stay when they have been delivered; `curate dedup add RUN` adds those of a plan
    that is not delivered."""


class Near(KeepRule):
    """Documents that are nearly the same: all but one go."""

    threshold: float = Field(default=0.8, gt=0, le=1)
    """Least similarity of two documents that count as duplicates."""
    verify: Literal["jaccard", "containment", "signature", "none"] = "jaccard"
    """What the threshold is compared with: exact `jaccard` similarity of the shingle sets, or `containment`
    (shared shingles over those of the smaller set), which read the text of candidates once more; the estimate
    from the `signature`; or nothing (`none`): every candidate pair counts, as in tools that do not verify.
    Candidates are found by Jaccard similarity always: a short text within a long one seldom is one."""
    bands: BandSettings | None = None
    """Null means those of the preset of `minhash`, or else the ones with the fewest false candidates that
    find `recall` of the pairs at the threshold."""
    recall: float = Field(default=0.98, gt=0, lt=1)
    """Share of pairs exactly at the threshold that become candidates; more similar ones do more often."""
    cluster: Literal["direct", "connected"] = "direct"
    """`direct`: a document goes only for a similar one that stays. `connected`: of documents that are linked
    by a chain of similar ones, only the best stays."""
    max_group: int = Field(default=32, ge=2, le=4096)
    """All pairs of documents that share a band are checked up to this many; of more, each is compared with
    representatives."""
    max_reps: int = Field(default=64, ge=1, le=4096)
    """Representatives of such a group at most; documents beyond are compared with these alone."""
    index: Index | None = None
    """Compare with earlier corpora; null looks at this one alone."""
    boilerplate: Boilerplate | None = None
    """Discount lines that many documents of a source share; null compares whole texts."""
    rails: Rails = Rails()

    @model_validator(mode="after")
    def _boilerplate_needs_text(self) -> Self:
        if self.boilerplate is not None and not self.reads_text:
            raise ConfigError(
                f"boilerplate is discounted by verify jaccard or containment, not: {self.verify}"
            )
        if self.boilerplate is not None and self.index is not None:
            raise ConfigError("boilerplate is found in one corpus, so it goes with no index")
        return self

    @property
    def reads_text(self) -> bool:
        """Whether candidates are read once more."""
        return self.verify in ("jaccard", "containment")

    @property
    def least_similarity(self) -> float:
        """What a pair must have to count."""
        return self.threshold if self.verify != "none" else 0.0

    def choose_bands(self, preset: str | None, num_hashes: int) -> Bands:
        """The bands of signatures of a preset with this many slots.

        Raises:
            ConfigError: signatures have too few slots, or the preset has no bands for this threshold.
        """
        if self.bands is not None:
            bands = Bands(self.bands.num_bands, self.bands.num_rows)
        elif preset is not None:
            by_threshold = preset in ("redpajama", "datajuicer")
            bands = preset_bands(preset, self.threshold if by_threshold else None)
        else:
            bands = solve(min(self.threshold, _MAX_SOLVED), num_hashes, recall=self.recall)
        if bands.num_hashes > num_hashes:
            raise ConfigError(
                f"{bands.num_bands} bands of {bands.num_rows} rows need {bands.num_hashes} slots, "
                f"minhash.num_hashes is {num_hashes}"
            )
        return bands

    def facts(self) -> dict[str, object]:
        """The settings that decide which documents are alike, apart from which stays."""
        names = {"threshold", "verify", "within", "max_group", "max_reps", "boilerplate"}
        return self.model_dump(mode="json", include=names)


def describe_bands(bands: Bands, threshold: float) -> str:
    """Bands in words, with the shares of pairs that they are expected to find and to find in vain."""
    above, below = min(threshold + 0.1, 1.0), max(threshold - 0.2, 0.0)
    shares = {at: float(bands.probability(at)) for at in (threshold, above, below)}
    return (
        f"{bands.num_bands} of {bands.num_rows} rows: {shares[threshold]:.1%} of pairs at Jaccard "
        f"{threshold:g} become candidates, {shares[above]:.2%} at {above:g}, {shares[below]:.2%} at {below:g}"
    )
