"""Published figures and claims, computed again, with a verdict and numbers for each claim."""

from nonlazy.reproduce.claims import Claim
from nonlazy.reproduce.entry import SIZES, Entry, Job, Outcome
from nonlazy.reproduce.registry import ENTRIES
from nonlazy.reproduce.running import chosen, reproduce
from nonlazy.reproduce.writing import claim_line, summary_line

__all__ = ["ENTRIES", "SIZES", "Claim", "Entry", "Job", "Outcome", "chosen", "claim_line", "reproduce", "summary_line"]
