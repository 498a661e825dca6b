"""A PyTorch perceptron learns handwritten digits; hooks collect its hidden layers, and their coding schemes are read."""

import torch
from sklearn.datasets import load_digits

import nonlazy as nl

torch.manual_seed(0)
images, labels = load_digits(n_class=4, return_X_y=True)
inputs, targets = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
training, test = slice(0, None, 2), slice(1, None, 2)

network = torch.nn.Sequential(
    torch.nn.Linear(64, 100), torch.nn.Tanh(), torch.nn.Linear(100, 100), torch.nn.Tanh(), torch.nn.Linear(100, 4)
)
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.3)
for _ in range(1000):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(network(inputs[training]), targets[training]).backward()
    optimizer.step()

activations = {}
for name, layer in network.named_children():
    if isinstance(layer, torch.nn.Tanh):
        layer.register_forward_hook(lambda _layer, _inputs, output, name=name: activations.update({name: output}))
with torch.no_grad():
    right = (network(inputs[test]).argmax(dim=1) == targets[test]).float().mean()
print(f"{100 * right:.0f} % of the test images right")
for name, values in activations.items():
    print(f"layer {name}:", nl.coding_scheme(values.numpy(), labels[test], inputs=images[test]))
