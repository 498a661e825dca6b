"""The hidden layer of scikit-learn's MLPClassifier, in three lines."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import nonlazy as nl

images, labels = load_digits(n_class=4, return_X_y=True)
classifier = MLPClassifier(100, "tanh", alpha=1.0, max_iter=1000, random_state=0).fit(images[::2] / 16, labels[::2])

hidden = np.tanh(images[1::2] / 16 @ classifier.coefs_[0] + classifier.intercepts_[0])
scheme = nl.coding_scheme(hidden, labels[1::2], inputs=images[1::2])
print(scheme)
