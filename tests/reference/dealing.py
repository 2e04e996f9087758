"""Levelling by single tokens: the next one always goes to the least loaded, of equal ones the first."""


def levelled(loads, amount):
    given = [0] * len(loads)
    for _ in range(amount):
        totals = [load + more for load, more in zip(loads, given, strict=True)]
        given[totals.index(min(totals))] += 1
    return given
