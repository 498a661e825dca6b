"""Networks on photographs."""

from __future__ import annotations

from nonlazy.errors import InputError
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.images import compute_images
from nonlazy.tasks import cifar10


def compute(job: Job) -> Outcome:
    if job.data is None:
        raise InputError("data must be a path of CIFAR-10 images, got None.")
    s = job.settings
    return compute_images(job, cifar10(s["classes"], s["n_train"], s["n_test"], seed=job.seed, source=job.data))


ENTRY = Entry(
    "cifar10",
    "CIFAR-10",
    "What holds on MNIST holds on photographs, with larger errors.",
    "Nature Communications 16, 3354 (2025), figures on CIFAR10",
    compute,
    needs_data=True,
)
