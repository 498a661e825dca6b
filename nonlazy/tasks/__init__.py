"""Learning problems: `Task` and where it comes from.

Toy inputs (`orthogonal`, `gaussian`), images (`digits`, `mnist`, `fashion_mnist`, `cifar10`) and your own
arrays (`from_arrays`). All return a `Task`; inputs other than your own are sorted by class.

>>> from nonlazy import tasks
>>> tasks.orthogonal(n_inputs=100, class_ratios=(0.5, 0.25, 0.25))
Task('orthogonal', n_inputs=100, n_features=100, n_outputs=3, n_test=0, class_names=('0', '1', '2'))
"""

from nonlazy.tasks.arrays import from_arrays
from nonlazy.tasks.images import cifar10, digits, fashion_mnist, mnist
from nonlazy.tasks.task import Task
from nonlazy.tasks.toy import gaussian, orthogonal

__all__ = ["Task", "cifar10", "digits", "fashion_mnist", "from_arrays", "gaussian", "mnist", "orthogonal"]
