"""Verify: is everything on disk what the records say, and does the ledger add up?

Sizes, rows and (unless only sizes are asked for) hashes of columns, resolved artefacts, plan and output;
and for every shard rows in = rows kept + rows dropped, with repeats 0 exactly where there is a reason.
"""

import numpy as np

from curate.pipeline.output import OutputFolder
from curate.pipeline.planfile import PlanFile
from curate.pipeline.session import Session
from curate.runs import Verify


def verify_run(session: Session, plan: PlanFile, mode: Verify) -> tuple[list[str], int]:
    """Check a run, its store and its output; returns what is wrong and how many files were looked at."""
    num_files = 0
    problems: list[str] = []
    for ledger in (session.store, session.run):
        problems += [f"{ledger.root / problem.path}: {problem.what}" for problem in ledger.verify(mode)]
        num_files += sum(len(commit.files) for commit in ledger.commits())
    problems += check_ledger(plan)
    output = session.recipe.output
    if output is not None:
        folder = OutputFolder(output.path, output.storage_options)
        found, checked = folder.check(plan.fingerprint, hashes=mode == "hash")
        problems += found
        num_files += checked
    return problems, num_files


def check_ledger(plan: PlanFile) -> list[str]:
    """Add up the rows: every row is kept or has a reason, and the totals of the header are their sums."""
    problems = []
    num_docs = kept_docs = planned_tokens = 0
    for index, shard in plan.iter_shards():
        rows = plan.rows(index, columns=["row", "reasons", "repeats", "tokens"])
        repeats = rows["repeats"].to_numpy().astype(np.int64)
        has_reason = rows["reasons"].combine_chunks().value_lengths().to_numpy() > 0
        if not np.array_equal(rows["row"].to_numpy(), np.arange(shard["num_rows"])):
            problems.append(f"{shard['key']}: rows are not 0 to {shard['num_rows'] - 1} in order")
        if (wrong := int(((repeats == 0) != has_reason).sum())) > 0:
            problems.append(
                f"{shard['key']}: rows that are kept with a reason or dropped without one: {wrong}"
            )
        num_docs += len(repeats)
        kept_docs += int((repeats > 0).sum())
        planned_tokens += int((repeats * rows["tokens"].to_numpy()).sum())
    totals = plan.header["totals"]
    for name, found in (("num_docs", num_docs), ("kept_docs", kept_docs), ("planned_tokens", planned_tokens)):
        if totals[name] != found:
            problems.append(f"plan.json: totals.{name} is {totals[name]}, the rows add up to {found}")
    dropped = sum(counts["first"] for counts in plan.header["reasons"].values())
    if totals["kept_docs"] + dropped != totals["num_docs"]:
        problems.append(
            f"plan.json: kept {totals['kept_docs']} + dropped {dropped} is not {totals['num_docs']}"
        )
    return problems
