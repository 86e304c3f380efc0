"""The comparisons of notebooks 09, 11 and 12 that several tests recompute: (name, a, b), as the pages write them."""

from laseg_lib.records.plans import FIRST_SEEDS, OTHER_SEEDS
from laseg_lib.records.statistics import differences, teacher

WORTH = [(f"{count} labels", teacher("strong", count), teacher("labels_only", count)) for count in (2, 4, 8, 16)]
AGAINST_TIME = [("strong − labels only for twice as long", teacher("strong", 2), teacher("labels_only", 2, "long"))]
PUBLIC = [(f"{count} labels {variant}", teacher("strong", count, variant), teacher("labels_only", count, variant))
          for count, variant in ((2, ""), (4, ""), (8, ""), (16, ""), (4, "long"), (8, "long"))]


def gains(table):
    """What unlabelled volumes give at 2, 4, 8 and 16 labels, by the record `labels`."""
    return differences(table, WORTH, cases=True)


def replication(table):
    """At 2 labels, against labels only for twice as long, over the eight other trainings."""
    return differences(table[table.seed.isin(OTHER_SEEDS)], AGAINST_TIME, cases=True)[0]


def rivals(table, labels):
    """Twice as long and self-training, each against labels only, then strong against both; one training a fold."""
    few, long, once, strong = (teacher(*pick) for pick in (
        ("labels_only", labels), ("labels_only", labels, "long"), ("self_training", labels), ("strong", labels)))
    return differences(table[table.seed.isin(FIRST_SEEDS)], [
        ("long", long, few), ("self-training", once, few), ("strong − long", strong, long),
        ("strong − self-training", strong, once)], cases=True)
