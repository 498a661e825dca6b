"""Networks on handwritten digits."""

from __future__ import annotations

from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.images import compute_images
from nonlazy.tasks import mnist


def compute(job: Job) -> Outcome:
    s = job.settings
    return compute_images(job, mnist(s["classes"], s["n_train"], s["n_test"], seed=job.seed))


ENTRY = Entry(
    "mnist",
    "MNIST",
    "Coding schemes and class structure carry over to test inputs; theory predicts the mean predictor; non-lazy "
    "networks generalize better than lazy ones, mainly because their predictor varies less.",
    "Nature Communications 16, 3354 (2025), figures on MNIST",
    compute,
)
