"""What was found of duplicates, in numbers and in words. Not here: finding them."""

from dataclasses import asdict, dataclass
from typing import Any

from curate.dedup.near import describe_bands
from curate.dedup.scurve import Bands
from curate.pipeline import near
from curate.pipeline.resolve import cluster_file
from curate.pipeline.session import Session


@dataclass(frozen=True, kw_only=True)
class Found:
    """Duplicates of a corpus; None where the recipe does not look for them."""

    num_docs: int
    exact: dict[str, Any] | None
    """Clusters of equal texts, and the documents in them."""
    near: dict[str, Any] | None
    """Counts of candidates, verified pairs and clusters."""
    bands: str | None
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def as_text(self) -> str:
        """For people."""
        lines = [f"documents  {self.num_docs:,}"]
        if self.exact is not None:
            docs, clusters = self.exact["num_docs"], self.exact["num_clusters"]
            lines.append(f"exact      {docs:,} in {clusters:,} clusters of equal text")
        if self.near is not None:
            counts = self.near
            lines += [
                f"bands      {self.bands}",
                f"pairs      {counts['num_pairs']:,} candidates, {counts['num_edges']:,} verified, "
                f"{counts['num_rejected']:,} rejected",
                f"near       {counts['num_clustered_docs']:,} in {counts['num_clusters']:,} clusters, the "
                f"largest of {counts['largest_cluster']:,}",
            ]
            if counts["num_hot_groups"]:
                lines.append(
                    f"bounded    {counts['num_hot_groups']:,} groups of {counts['num_hot_docs']:,} members "
                    f"compared with representatives; {counts['num_capped_groups']:,} ran out of them"
                )
        if self.exact is None and self.near is None:
            lines.append("the recipe looks for no duplicates: add a section `dedup`")
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def describe_duplicates(session: Session) -> Found:
    """Say what resolve found.

    Raises:
        StateError: duplicates have not been resolved.
    """
    dedup = session.recipe.dedup
    facts = near.cluster_file(session).meta if dedup.minhash is not None else None
    bands = Bands(*facts["bands"]) if facts is not None else None
    return Found(
        num_docs=sum(entry.length for entry in session.entries),
        exact=cluster_file(session).meta if dedup.exact is not None else None,
        near=dict(facts["counts"]) if facts is not None else None,
        bands=describe_bands(bands, dedup.minhash.threshold) if bands and dedup.minhash else None,
        warnings=near.check(session) if dedup.minhash is not None else [],
    )
