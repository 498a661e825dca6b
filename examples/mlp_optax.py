"""Two perceptrons learn MNIST by gradient descent with weight decay: which coding scheme do their hidden layers have?"""

import jax
import jax.numpy as jnp
import optax

import nonlazy as nl

WIDTH, DEPTH, STEPS = 100, 2, 1000
task = nl.tasks.mnist(classes=(0, 1, 2), n_train=300, n_test=300)
inputs, test_inputs = jnp.asarray(task.inputs), jnp.asarray(task.test_inputs)
labels, test_labels = jnp.asarray(task.labels), jnp.asarray(task.test_labels)


def first_weights(key):
    sizes = [inputs.shape[1], *[WIDTH] * DEPTH, 3]
    keys = jax.random.split(key, DEPTH + 1)
    return [jax.random.normal(k, (a, b)) / jnp.sqrt(a) for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)]


def hidden_layers(phi, weights, x):
    layers = []
    for w in weights[:-1]:
        x = phi(x @ w)
        layers.append(x)
    return layers


def train(phi):
    weights = first_weights(jax.random.key(0))
    optimizer = optax.adamw(1e-3, weight_decay=0.3)

    def loss(weights):
        logits = hidden_layers(phi, weights, inputs)[-1] @ weights[-1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(_, carry):
        weights, state = carry
        updates, state = optimizer.update(jax.grad(loss)(weights), state, weights)
        return optax.apply_updates(weights, updates), state

    return jax.jit(lambda carry: jax.lax.fori_loop(0, STEPS, step, carry))((weights, optimizer.init(weights)))[0]


for name, phi in {"relu": jax.nn.relu, "tanh": jnp.tanh}.items():
    weights = train(phi)
    guessed = (hidden_layers(phi, weights, test_inputs)[-1] @ weights[-1]).argmax(axis=1)
    print(f"{name}: {100 * (guessed == test_labels).mean():.0f} % of the test images right")
    for number, layer in enumerate(hidden_layers(phi, weights, test_inputs), 1):
        print(f"{name}, layer {number}:", nl.coding_scheme(layer, task.test_labels, inputs=task.test_inputs))
