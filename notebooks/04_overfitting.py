# %% [markdown]
r"""
# 4 · Overfitting

A network can know its training images by heart and be of little use for others. When does that happen, how does one
see it, and what do two common remedies do about it? Everything is measured on real digits, and the last part reads
the report of a study.

Notebooks 1 and 2 introduced the networks, the loss and how they are trained.
"""

# %%
import csv
import json
import os
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from leyden.backbones import MLP
from leyden.data import Digits, ImageDataModule
from leyden.heads import LinearHead

plt.style.use("lesson.mplstyle")
torch.set_num_threads(1)
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `leyden` below is this Python's
scratch = tempfile.TemporaryDirectory(prefix="leyden_")  # what is trained here is written there, and goes in the end
os.chdir(scratch.name)


def few_digits(labels_per_class, seed):
    """Training and test images as [N, 64] numbers with their labels: so many of each class, others with each seed."""
    data = ImageDataModule(Digits(), 10, seed=0, labels_per_class=labels_per_class, split_seed=seed)
    data.setup("fit")
    pixels = ((data.images.float() / 255 - data.mean[0]) / data.std[0]).flatten(1)
    return [(pixels[indices], data.labels[indices]) for indices in (data.train_indices, data.test_indices)]


# %% [markdown]
r"""
## Capacity against data

The **training error** is the share of wrong answers on the images that a network has learnt from, the **test error**
that on images it has never met. Only the second one matters later, and the distance between them is the
**generalization gap**. A network **overfits** where it lowers the training error at the cost of the test error: it
learns what is peculiar to its images, noise included. **Capacity** is how many different answers a network can learn
by heart; it grows with the number of nodes. Networks of the usual size can learn even random labels by heart (Zhang
et al. 2017, *Understanding deep learning requires rethinking generalization*).

One hidden layer of 1 to 128 nodes, trained to its end (250 steps of Adam on all images at once) on 5, 20 or 80 images
of each digit; means over two draws of the images.
"""


# %%
def errors(width, labels_per_class, seed):
    """Training and test error, in per cent, of a network of one hidden layer that was trained to its end."""
    (inputs, labels), (new_inputs, new_labels) = few_digits(labels_per_class, seed)
    torch.manual_seed(seed)
    network = torch.nn.Sequential(MLP(1, 8, depth=1, width=width), LinearHead(width, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(250):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    with torch.no_grad():
        wrong = [network(x).argmax(1) != y for x, y in ((inputs, labels), (new_inputs, new_labels))]
    return [100 * float(each.float().mean()) for each in wrong]


widths, amounts = [1, 2, 4, 8, 32, 128], [5, 20, 80]
found = np.array([[[errors(width, amount, seed) for seed in range(2)] for width in widths] for amount in amounts])
means = found.mean(axis=2)  # [amounts, widths, training and test]
figure, grid = plt.subplots(1, 3, figsize=(10, 3), sharey=True)
for axes, amount, values in zip(grid, amounts, means, strict=True):
    axes.semilogx(widths, values[:, 1], marker="o", base=2, label="test images")
    axes.semilogx(widths, values[:, 0], marker="s", base=2, label="training images")
    axes.set(xlabel="nodes in the hidden layer", title=f"{amount} labels per class", ylim=(0, 85))
grid[0].set_ylabel("error (% wrong)")
grid[0].legend()
plt.show()
wide = means[:, -1]
difference = (wide[:, 1] - means[..., 1].min(axis=1)).max()
worse = f"at most {difference:.1f}" if difference >= 0.05 else "less than 0.1"
display(
    Markdown(
        f"With {widths[-1]} nodes all networks know their images by heart (training error at most "
        f"{wide[:, 0].max():.1f} %), and yet the test error is {', '.join(f'{error:.1f} %' for error in wide[:, 1])} "
        f"with {', '.join(map(str, amounts))} labels per class: what closes the gap is **data**. How much does "
        f"capacity that is not needed hurt? The widest network is {worse} points worse than the best width."
    )
)

# %% [markdown]
r"""
### Where capacity does hurt, and then helps again

"Too complex a model overfits" is the textbook's curve: test error falls, then rises. Beyond the point where
everything can be learnt by heart it falls a second time: **double descent** (Belkin, Hsu, Ma & Mandal 2019,
*Reconciling modern machine-learning practice and the classical bias–variance trade-off*; for deep networks Nakkiran
et al. 2020, *Deep double descent*). It shows most clearly where the hidden layer keeps its random weights and the
output layer is solved for exactly, by least squares: the weights whose squared errors have the smallest sum, and of
several such, the smallest. The critical point is then where there are as many nodes as training images.
"""

# %%
num_images, nodes, num_seeds = 200, [10, 25, 50, 100, 150, 180, 200, 220, 250, 300, 400, 800, 1600], 5
curves = np.zeros((num_seeds, len(nodes), 2))
for seed in range(num_seeds):
    (inputs, labels), (new_inputs, new_labels) = few_digits(num_images // 10, seed)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(64, nodes[-1], generator=generator) / 8
    hidden, new_hidden = ((x @ weights).relu().double().numpy() for x in (inputs, new_inputs))
    wanted = torch.nn.functional.one_hot(labels, 10).double().numpy()
    for column, count in enumerate(nodes):
        solution = np.linalg.lstsq(hidden[:, :count], wanted, rcond=None)[0]
        for side, (x, y) in enumerate([(hidden, labels), (new_hidden, new_labels)]):
            curves[seed, column, side] = 100 * np.mean((x[:, :count] @ solution).argmax(1) != y.numpy())
figure, axes = plt.subplots(figsize=(7, 3.3))
for side, (name, marker) in enumerate([("training images", "s"), ("test images", "o")]):
    axes.semilogx(nodes, curves[..., side].mean(0), marker=marker, label=name)
    axes.fill_between(nodes, curves[..., side].min(0), curves[..., side].max(0), color="0.85")
axes.axvline(num_images, color="0.6", linestyle=":", linewidth=1)
axes.annotate("as many nodes as images", (num_images, 88), (260, 88), fontsize=9)
axes.set(xlabel="random hidden nodes", ylabel="error (% wrong)", title="Mean and range of five draws", ylim=(-2, 95))
axes.legend(loc="upper left")
plt.show()
test = curves[..., 1].mean(0)
peak = int(test[3:].argmax()) + 3
display(
    Markdown(
        f"The test error falls to {test[:peak].min():.0f} % at {nodes[int(test[:peak].argmin())]} nodes, rises to "
        f"**{test[peak]:.0f} %** at {nodes[peak]}, and falls to {test[-1]:.0f} % at {nodes[-1]}: a model can be too "
        "complex, and more complex still is better."
    )
)

# %% [markdown]
r"""
## How to see it

While a network trains, look at images that it does not learn from. The training loss goes on falling; once the
validation loss rises, the network overfits. (Validation images are for such decisions; the test images are for the
end.) A wide network, ten labels per class, no remedy yet:
"""

# %%
settings = "data=digits data.labels_per_class=10 backbone=mlp backbone.width=256 batch_size=50 schedule=constant"
settings += " trainer=cpu logger=csv pictures=false"
longer = "epochs=120 optimizer.lr=0.005 optimizer.weight_decay=0"
# !leyden train {settings} {longer} hydra.run.dir=overfitting | tail -9 | head -4

# %%
with open("overfitting/metrics.csv", newline="") as file:
    rows = list(csv.DictReader(file))
curve = {
    name: np.array([float(row[name]) for row in rows if row.get(name)])
    for name in ("train/loss", "val/loss", "val/accuracy")
}
lowest = int(curve["val/loss"].argmin())
figure, (left, right) = plt.subplots(1, 2)
left.semilogy(curve["train/loss"], label="training images")
left.semilogy(curve["val/loss"], label="validation images")
left.plot(lowest, curve["val/loss"][lowest], "ko", fillstyle="none", markersize=9)
left.set(xlabel="epoch", ylabel="loss (nats)", title="Loss")
left.legend()
right.plot(100 * curve["val/accuracy"], color="black")
right.set(xlabel="epoch", ylabel="validation images right (%)", title="Accuracy")
plt.show()
rise = curve["val/loss"][-1] / curve["val/loss"][lowest] - 1
change = 100 * (curve["val/accuracy"][-1] - curve["val/accuracy"][lowest])
display(
    Markdown(
        f"The validation loss is lowest in epoch {lowest} and has risen by **{rise:.0%}** at the end, while the "
        f"training loss fell to {curve['train/loss'][-1]:.0e}. Accuracy changed by {change:+.1f} points meanwhile: the "
        "loss tells of overfitting that accuracy need not show, for a network that is ever surer pays more for the "
        "same mistakes (Guo et al. 2017, *On calibration of modern neural networks*)."
    )
)

# %% [markdown]
r"""
Ending at the lowest validation loss is **early stopping** (Prechelt 1998, *Early stopping – but when?*);
`monitor=val/loss callbacks.early_stopping.patience=10` does it, and the best epoch's weights are the ones that `leyden`
tests anyway.

## Two remedies

**Regularization** is whatever keeps a network from learning by heart. Two kinds are in every toolbox:

**Dropout** (Srivastava et al. 2014, *Dropout: a simple way to prevent neural networks from overfitting*): in each
training step every hidden node is silenced with probability $p$, and the others are multiplied by $1/(1-p)$, so that
the sum that the next layer sees stays the same on average. No node can rely on one particular other node. At test
time all nodes speak.

**Weight decay** (Krogh & Hertz 1992, *A simple weight decay can improve generalization*): each step also shrinks
every weight a little, $w \leftarrow (1 - \eta\lambda)\, w - \eta\, g$. Large weights, which sharp answers need, must
earn their keep.
"""

# %%
torch.manual_seed(0)
outputs = torch.ones(100_000)
print("share p   silenced   mean of what is passed on")
for share in (0.0, 0.25, 0.5):
    passed = torch.nn.functional.dropout(outputs, share)
    print(f"{share:7.2f} {float((passed == 0).float().mean()):10.3f} {float(passed.mean()):10.3f}")

# %% [markdown]
r"""
### A study: every combination, three draws of the images

`-m` trains all combinations of the values that have commas between them. The seed draws the first weights, and, by
`data.split_seed`, other images. At the end there is a report.
"""

# %%
sweep = "backbone.dropout=0,0.25,0.5 optimizer.weight_decay=0,2 seed=0,1,2 data.split_seed='${seed}' monitor=val/loss"
# !leyden train -m {settings} {sweep} epochs=25 study=remedies | grep -A 12 "finished$"

# %%
(page,) = Path("runs").glob("*/remedies/report.json")
report = json.loads(page.read_text())
(table,) = report["interactions"]
means = np.array(table["means"])
figure, axes = plt.subplots(figsize=(4.6, 3.2))
shown = axes.imshow(means, cmap="gray")
for (row, column), value in np.ndenumerate(means):
    dark = value < (means.min() + means.max()) / 2
    axes.text(column, row, f"{value:.3f}", ha="center", va="center", color="white" if dark else "black")
axes.set(
    xticks=range(means.shape[1]),
    xticklabels=table["column_levels"],
    yticks=range(means.shape[0]),
    yticklabels=table["row_levels"],
)
axes.set(xlabel=table["columns"], ylabel=table["rows"], title="Lowest validation loss (nats), mean of three")
figure.colorbar(shown, ax=axes)
plt.show()
best = report["settings"][0]
standings = {word: sum(s["standing"] == word for s in report["settings"]) for word in ("tied", "worse")}
display(
    Markdown(
        "\n\n".join(
            [
                "The report's answer, in its own words:",
                *("> " + sentence for sentence in report["answer"]),
                f"So {standings['tied']} of the {len(report['settings']) - 1} other settings cannot be told from the "
                f"best one by three runs each, and {standings['worse']} can. The best one, {best['label']}, has "
                f"a test loss of {best['reported']['mean']:.2f} nats (95 % interval {best['reported']['low']:.2f} to "
                f"{best['reported']['high']:.2f}).",
            ]
        )
    )
)

# %% [markdown]
r"""
## L2 in the loss is not weight decay in Adam

**L2 regularization** adds $\frac{\lambda}{2} \sum w^2$ to the loss, and so $\lambda w$ to the gradient. For SGD that
*is* weight decay: $w - \eta (g + \lambda w) = (1 - \eta\lambda) w - \eta g$. Adam divides the gradient by its size,
and with it the $\lambda w$ that was added: weights with large gradients are hardly decayed. Loshchilov & Hutter 2019
(*Decoupled weight decay regularization*) therefore take the decay out of the gradient: AdamW.

Measured on weights that begin at 1 and whose gradients are nothing but noise, of three sizes, so that all they should
do is decay; means over 500 weights of each kind.
"""

# %%
rate, decay, num_steps, kinds = 1e-3, 1.0, 3000, [0.1, 1.0, 10.0]


def decayed(optimizer_of):
    """The mean of 500 weights of each kind [steps, kinds] under gradients of pure noise."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.ones(500, len(kinds), dtype=torch.float64, requires_grad=True)
    optimizer, means = optimizer_of([weights]), []
    for _ in range(num_steps):
        weights.grad = torch.randn(weights.shape, generator=generator, dtype=torch.float64) * torch.tensor(kinds)
        optimizer.step()
        means.append(weights.detach().mean(0).numpy())
    return np.array(means)


in_loss = decayed(lambda weights: torch.optim.Adam(weights, rate, weight_decay=decay))
decoupled = decayed(lambda weights: torch.optim.AdamW(weights, rate, weight_decay=decay))
figure, grid = plt.subplots(1, 2, sharey=True)
for axes, means, title in zip(grid, (in_loss, decoupled), ("L2 in the loss: Adam", "Decoupled: AdamW"), strict=True):
    for kind, values in zip(kinds, means.T, strict=True):
        axes.plot(values, label=f"gradients of size {kind:g}")
    axes.set(xlabel="step", title=title)
grid[1].plot(
    (1 - rate * decay) ** np.arange(num_steps), color="black", linewidth=4, alpha=0.2, linestyle="-", label="(1 − ηλ)ᵗ"
)
grid[0].set_ylabel("mean weight, from 1")
for axes in grid:
    axes.legend(fontsize=8)
plt.show()

generator = torch.Generator().manual_seed(0)
ours = theirs = torch.ones(1000, dtype=torch.float64)
for _ in range(100):
    gradient = torch.randn(1000, generator=generator, dtype=torch.float64)
    ours = ours - rate * (gradient + decay * ours)  # L2 in the loss
    theirs = (1 - rate * decay) * theirs - rate * gradient  # decoupled
expected = (1 - rate * decay) ** num_steps
display(
    Markdown(
        f"After {num_steps:,} steps Adam has left {abs(in_loss[-1, 0]):.2f}, {in_loss[-1, 1]:.2f} and "
        f"**{in_loss[-1, 2]:.2f}** of weights whose gradients are of size {kinds[0]:g}, {kinds[1]:g} and {kinds[2]:g}; "
        f"AdamW {', '.join(f'{value:.2f}' for value in decoupled[-1])}, where $(1 - \\eta\\lambda)^t$ is "
        f"{expected:.2f}. For SGD the two ways differ by {float((ours - theirs).abs().max()):.0e}: rounding."
    )
)

# %% [markdown]
r"""
In `leyden`, `optimizer=adamw` is decoupled, `optimizer=adam` is L2 in the loss; `optimizer.weight_decay` sets either.
In neither do biases decay, nor what scales and shifts a layer's numbers after they were brought to one common size.

## Words of this notebook

| word | meaning |
| --- | --- |
| training error | share of wrong answers on images that were learnt from |
| test error | share of wrong answers on images never met |
| generalization gap | the distance between the two |
| overfits | lowers the training error at the cost of the test error |
| capacity | how much a network can learn by heart |
| double descent | test error that falls, rises, and falls again as capacity grows |
| early stopping | ending where the validation loss is lowest |
| regularization | what keeps a network from learning by heart |
| dropout | silencing random nodes in each training step |
| weight decay | shrinking every weight a little in each step |
| L2 regularization | adding the weights' squares to the loss |
"""

# %% [markdown]
r"""
## Exercise

Does the best dropout depend on how many labels there are? Give the study
`data.labels_per_class=5,20,80` as a third setting in place of the 10 of `settings` (54 runs, a few minutes), and read
in its report of which two settings the one decides how much the other matters (×). Before it runs, write down what
you expect.
"""

# %% tags=["quiz"]
# Now let's see if you've learned something. (`leyden quiz 4` asks in the terminal, and tells where you were wrong.)
from leyden.quiz import show

show(4)
