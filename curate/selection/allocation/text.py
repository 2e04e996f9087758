"""An allocation and a comparison as text for a terminal. Not here: the page (report)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.selection.allocation.allocation import Allocation

MAX_ROWS = 40
MAX_NAME_CHARS = 40


def allocation_as_text(plan: "Allocation") -> str:
    """Write the table of pools, the largest first, its worth beside the baselines, and what moves it."""
    order = sorted(range(len(plan.names)), key=lambda place: (-plan.tokens[place], plan.names[place]))
    table: list[Sequence[str]] = [
        ("pool", "unique", "tokens", "epochs", "share", "natural", "stratified", "next token")
    ]
    full = plan.full()
    for place in order[:MAX_ROWS]:
        baselines = (plan.baselines[name][place] / plan.target_tokens for name in ("natural", "stratified"))
        table.append(
            (
                _cut(plan.names[place]),
                f"{plan.unique_tokens[place]:,}",
                f"{plan.tokens[place]:,}",
                f"{plan.epochs[place]:.3g}{'*' if full[place] else ''}",
                f"{plan.share[place]:.2%}",
                *(f"{share:.2%}" for share in baselines),
                f"{plan.marginal[place]:.4g}",
            )
        )
    lines = [
        f"{plan.target_tokens:,} tokens of {len(plan.names):,} pools by the rule {plan.rule}; "
        + (f"utilities: {plan.valued_by}, decay {plan.decay}" if plan.is_valued else "by a law of mixtures"),
        "",
        *aligned(table),
    ]
    if len(order) > MAX_ROWS:
        lines.append(f"and {len(order) - MAX_ROWS:,} more")
    if any(full):
        lines.append("* at its cap")
    worth = ", ".join(f"{name} {value:.4g}" for name, value in plan.values.items())
    lines += ["", f"worth of the tokens together: {worth}"] if plan.is_valued else []
    lines += [f"warning: {text}" for text in plan.warnings]
    if plan.sensitivity:
        lines += ["", "how sure: where the tokens go when what this rests on is another", *_shifts(plan)]
    return "\n".join(lines)


def _shifts(plan: "Allocation") -> list[str]:
    shares, epochs = (
        dict(zip(plan.names, plan.share, strict=True)),
        dict(zip(plan.names, plan.epochs, strict=True)),
    )
    table: list[Sequence[str]] = [("change", "moved", "largest changes (share, epochs)")]
    for shift in plan.sensitivity:
        rows = sorted(shift.pools, key=lambda row: (-abs(row[1] - shares[row[0]]), row[0]))[:3]
        moves = [
            f"{_cut(name)} {shares[name]:.1%} -> {share:.1%}, {epochs[name]:.3g} -> {passes:.3g}"
            for name, share, passes in rows
            if share != shares[name]
        ]
        table.append((shift.change, f"{shift.moved:.1%}", "; ".join(moves) or "nothing moves"))
    return aligned(table, left=(0, 2))


def aligned(table: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> list[str]:
    """Write rows of cells as lines, columns of numbers to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _cut(name: str) -> str:
    printable = "".join(char if char.isprintable() else "\ufffd" for char in name)
    return printable if len(printable) <= MAX_NAME_CHARS else printable[: MAX_NAME_CHARS - 1] + "\u2026"
