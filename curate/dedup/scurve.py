"""Bands of MinHash signatures: how likely two texts become candidates, and which bands to choose.

Two texts are candidates where all slots of some band are equal: with similarity J, r rows and b bands the
probability is 1 - (1 - J^r)^b, an S-curve that rises steeply about (1/b)^(1/r). `solve` goes through all
pairs of b and r that the slots allow and takes the one with the least

    false_positive_weight * (integral of P from 0 to t) + false_negative_weight * (that of 1 - P from t to 1)

at the threshold t, which is the objective of datasketch; or, where a recall is wanted, the least first
integral among those with P(t) >= recall. Ties go to fewer bands, then to fewer rows. Integrals are midpoint
sums over 2,000 points, each side for itself.

Both integrals take every similarity for equally likely. Real pairs are nearly all far below the threshold:
`expected_errors` counts over similarities that were measured.

Cost: about 50 ms for 128 slots, 0.8 s for 1,024. Not here: the keys of bands (`_rust.band_keys`),
candidates.
"""

from dataclasses import dataclass

import numpy as np

from curate.errors import ConfigError

NUM_POINTS = 2000
MAX_HASHES = 1024


@dataclass(frozen=True, slots=True)
class Bands:
    """How the slots of a signature are divided: `num_bands` bands of `num_rows` slots each."""

    num_bands: int
    num_rows: int

    def __post_init__(self) -> None:
        if self.num_bands < 1 or self.num_rows < 1:
            raise ConfigError(f"bands and rows are at least 1: {self.num_bands} and {self.num_rows}")

    @property
    def num_hashes(self) -> int:
        """Slots that are used."""
        return self.num_bands * self.num_rows

    @property
    def threshold(self) -> float:
        """Similarity about which the curve rises, (1/b)^(1/r); the probability there is about 0.63."""
        return float((1 / self.num_bands) ** (1 / self.num_rows))

    def probability(self, similarity: np.ndarray | float) -> np.ndarray:
        """Probability that texts of these similarities become candidates."""
        equal = np.asarray(similarity, dtype=np.float64) ** self.num_rows
        # Not 1 - (1 - x)^b: digits of small probabilities would be lost.
        with np.errstate(divide="ignore"):
            return np.asarray(-np.expm1(self.num_bands * np.log1p(-equal)))

    def false_positive_area(self, threshold: float) -> float:
        """Integral of the probability below the threshold; divided by the threshold it is the mean."""
        return float(np.mean(self.probability(_points(0.0, threshold))) * threshold)

    def false_negative_area(self, threshold: float) -> float:
        """Integral of the probability to be missed from the threshold on."""
        return float(np.mean(1 - self.probability(_points(threshold, 1.0))) * (1 - threshold))

    def expected_errors(self, similarities: np.ndarray, threshold: float) -> tuple[float, float]:
        """Expected false positives and false negatives among pairs of these similarities.

        Pairs below the threshold that become candidates, and pairs at or above it that do not.
        """
        values = np.asarray(similarities, dtype=np.float64)
        found, similar = self.probability(values), values >= threshold
        return float(found[~similar].sum()), float((1 - found[similar]).sum())


def solve(
    threshold: float,
    num_hashes: int,
    *,
    recall: float | None = None,
    false_positive_weight: float = 0.5,
    false_negative_weight: float = 0.5,
) -> Bands:
    """Choose bands for a threshold: the least weighted area of errors, or a wanted recall at the threshold.

    Raises:
        ConfigError: A number is out of its bounds, or no bands have the recall.
    """
    _check(threshold, num_hashes, recall)
    if false_positive_weight < 0 or false_negative_weight < 0:
        weights = f"{false_positive_weight} and {false_negative_weight}"
        raise ConfigError(f"weights of false positives and negatives are at least 0: {weights}")
    best, least = None, np.inf
    for num_bands in range(1, num_hashes + 1):
        for num_rows in range(1, num_hashes // num_bands + 1):
            bands = Bands(num_bands, num_rows)
            if recall is not None:
                if bands.probability(threshold) < recall:
                    continue
                cost = bands.false_positive_area(threshold)
            else:
                cost = false_positive_weight * bands.false_positive_area(threshold)
                cost += false_negative_weight * bands.false_negative_area(threshold)
            if cost < least:
                best, least = bands, cost
    if best is None:
        raise ConfigError(f"no bands of {num_hashes} slots have that recall at {threshold}: {recall}")
    return best


PUBLISHED: dict[str, dict[float | None, Bands]] = {
    "fineweb": {None: Bands(14, 8)},
    "datatrove": {None: Bands(14, 8)},
    "dolma3": {None: Bands(26, 11)},
    "redpajama": {0.7: Bands(14, 9), 0.8: Bands(9, 13), 0.9: Bands(5, 25)},
}
"""Bands by preset and, where the publication has several, by threshold."""

SOLVED: dict[str, tuple[float, int]] = {"datajuicer": (0.7, 256)}
"""Presets whose bands follow from a threshold and a number of slots."""


def preset_bands(preset: str, threshold: float | None = None) -> Bands:
    """Look up or solve the bands of a preset of `curate.measure.minhash`.

    Raises:
        ConfigError: There is no such preset, or it has no bands for this threshold.
    """
    if preset in SOLVED:
        usual, num_hashes = SOLVED[preset]
        return solve(usual if threshold is None else threshold, num_hashes)
    if preset not in PUBLISHED:
        known = ", ".join(sorted([*PUBLISHED, *SOLVED]))
        raise ConfigError(f"presets of bands are {known}, not: {preset}")
    choices = PUBLISHED[preset]
    if threshold not in choices:
        allowed = ", ".join("none" if choice is None else str(choice) for choice in choices)
        raise ConfigError(
            f"bands of {preset} are published for the threshold {allowed}, not for: {threshold}"
        )
    return choices[threshold]


def _points(low: float, high: float) -> np.ndarray:
    """Middles of equal parts of an interval."""
    return low + (np.arange(NUM_POINTS) + 0.5) * ((high - low) / NUM_POINTS)


def _check(threshold: float, num_hashes: int, recall: float | None) -> None:
    if not 0 < threshold < 1:
        raise ConfigError(f"a threshold lies between 0 and 1: {threshold}")
    if not 1 <= num_hashes <= MAX_HASHES:
        raise ConfigError(f"a signature has from 1 to {MAX_HASHES} slots: {num_hashes}")
    if recall is not None and not 0 < recall < 1:
        raise ConfigError(f"a recall lies between 0 and 1: {recall}")
