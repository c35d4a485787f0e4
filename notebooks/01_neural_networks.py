# %% [markdown]
r"""
# 1 · Artificial neural networks

An artificial neural **network** is a function: numbers go in, say an image, and numbers come out, say how much it looks
like each digit. It is made of many small pieces of one kind. Which, and what do the inner ones see? We build a network
from its smallest piece, show on real images why one row of such pieces is not enough, and look inside two that have
learnt.

From school you need functions, powers, and straight lines in the plane. The code may be skipped: what it draws and
prints tells what it does. Words in bold are explained where they stand, and collected in the table at the end.
"""

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown

from leyden.backbones import CNN, MLP
from leyden.data import Digits, FashionMNIST, ImageDataModule
from leyden.heads import LinearHead

plt.style.use("lesson.mplstyle")
torch.set_num_threads(1)

# %% [markdown]
r"""
## An image is a list of numbers

A computer knows an image as its **pixels**: small squares, each with a number for its brightness. Beside each of our
images stands its **label**, the right answer, which a person has given. Images that share a label are a **class**;
here are ten, the digits 0 to 9. They were written by 13 people (Alpaydin & Kaynak 1998, *Optical recognition of
handwritten digits*) and come with `leyden`, the package that these notebooks belong to. Most are there to learn from.
Some are put aside to **test** a network: to count its right answers on images that it has not learnt from. The rest
wait for a purpose of which notebook 2 speaks.
"""

# %%
digits = ImageDataModule(Digits(), batch_size=64, seed=0)
digits.setup("fit")
pixels = ((digits.images.float() / 255 - digits.mean[0]) / digits.std[0]).flatten(1)  # over all, mean 0 and spread 1
labels, to_train, to_test = digits.labels, digits.train_indices, digits.test_indices
figure, grid = plt.subplots(1, 9, figsize=(10, 1.5))
for axes, index in zip(grid, to_train[:9], strict=True):
    axes.imshow(digits.images[index, 0], cmap="gray")
    axes.set(xticks=[], yticks=[], title=f"label {labels[index]}")
plt.show()
print("the first one's brightness, from 0 (black) to 255 (white):")
print(digits.images[to_train[0], 0].numpy())
num_test = len(to_test)
Markdown(
    f"{len(labels):,} images of 8 × 8 = {pixels.shape[1]} numbers: {len(to_train):,} to learn from, {num_test} to test."
)

# %% [markdown]
r"""
## One node

An artificial neural network is made of one piece, the **node** (or artificial neuron; McCulloch & Pitts 1943, *A
logical calculus of the ideas immanent in nervous activity*; one that learns: Rosenblatt 1958, *The perceptron*). It
takes $n$ numbers $x_1, …, x_n$ and gives one, $h$:

$$h = f(z), \qquad z = w_1 x_1 + w_2 x_2 + … + w_n x_n + b$$

The **weights** $w_1, …, w_n$ say how much each number counts, and with which sign; the sum of the products is a
**weighted sum**. The **bias** $b$ shifts it: how much is needed before the node responds. Weights and biases are a
network's **parameters**, the numbers that it learns. The **activation function** $f$ bends the result $z$; without it,
as we shall see, many nodes would be no more than one. Three are common: the **ReLU** $\max(0, z)$, the larger of 0 and
$z$ (Nair & Hinton 2010, *Rectified linear units improve restricted Boltzmann machines*); the **sigmoid**
$1 / (1 + e^{-z})$, where $e ≈ 2.718$; and **tanh**, $(e^z - e^{-z}) / (e^z + e^{-z})$.
"""

# %%
z = torch.linspace(-4, 4, 200)
figure, axes = plt.subplots(figsize=(5, 3))
for name, function in {"ReLU": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}.items():
    axes.plot(z, function(z), label=name)
axes.set(xlabel="weighted sum plus bias, z", ylabel="what the node puts out, f(z)", ylim=(-1.2, 3))
axes.legend()
plt.show()
inputs, weights, bias = [1.0, 2.0, -1.0], [0.5, -0.2, 0.3], 0.1
total = sum(weight * number for weight, number in zip(weights, inputs, strict=True)) + bias
terms = " ".join(f"{weight:+g}·({number:g})" for weight, number in zip(weights, inputs, strict=True))
print(f"{terms} {bias:+g} = {total:.2g}, so a node with a ReLU puts out {max(0.0, total):.2g}")

# %% [markdown]
r"""
## Layers

Nodes that look at the same numbers stand side by side in a **layer**. The **input layer** is the pixels themselves.
Each **hidden layer** looks at what the layer before it puts out. The **output layer** has one node for each class and
no activation function: the class of the largest number is the network's answer. Such a network, in which every node
looks at the whole layer before it, is a **multilayer perceptron** (MLP).

A layer of $m$ nodes that look at $n$ numbers has $n \cdot m$ weights and $m$ biases. In `leyden`, all layers but the
last are called the **backbone**, and the last, the output layer, the **head**:
"""

# %%
network = torch.nn.Sequential(MLP(channels=1, image_size=8, depth=2, width=32), LinearHead(32, num_classes=10))
names = itertools.product(("first hidden layer", "second hidden layer", "output layer"), ("weights", "biases"))
for (layer, kind), parameter in zip(names, network.parameters(), strict=True):
    print(f"{layer:19} {' × '.join(map(str, parameter.shape)):>7} = {parameter.numel():5,} {kind}")
by_formula = (64 * 32 + 32) + (32 * 32 + 32) + (32 * 10 + 10)
assert sum(parameter.numel() for parameter in network.parameters()) == by_formula
Markdown(f"64 numbers → 32 nodes → 32 nodes → 10 nodes: **{by_formula:,}** parameters in all.")

# %% [markdown]
r"""
## Why hidden layers?

Without a hidden layer each class's number is a weighted sum of the pixels plus a bias: a **linear model**. With two
numbers as input and two classes it divides the plane along a straight line. Classes that a line can divide are called
**linearly separable**; two rings, one within the other, are not (Minsky & Papert 1969, *Perceptrons*, made such limits
famous).

Layers without an activation function do not help. Let a node with weight $v$ and bias $c$ take a number $x$, and one
with $w$ and $b$ take what the first puts out: $w\,(v\,x + c) + b = (w v)\, x + (w c + b)$, so both are one node with
other numbers, and so it is with whole layers, however many. With one of the three functions above in between, a single
hidden layer with enough nodes comes as near as one likes to any function without jumps, over a bounded range (Cybenko
1989, *Approximation by superpositions of a sigmoidal function*; Hornik, Stinchcombe & White 1989; for the ReLU Leshno,
Lin, Pinkus & Schocken 1993). How to find its weights, these proofs do not say. **Training** looks for them: from random
ones, step by step towards fewer mistakes, as notebook 2 explains. Here it is a function that we only use, first on 400
places in the plane, two numbers each, which lie in two rings.
"""


# %%
def train(network, inputs, labels, steps, batch_size=64, rate=0.01, seed=0):
    """Changes the network's parameters so that its answers come nearer to the labels; notebook 2 says how."""
    optimizer = torch.optim.Adam(network.parameters(), rate)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        some = torch.randint(len(labels), (batch_size,), generator=generator)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs[some]), labels[some]).backward()
        optimizer.step()
    return network.eval()


def share_right(network, inputs, labels):
    """The share of inputs whose largest output is that of the right class."""
    with torch.no_grad():
        return float((network(inputs).argmax(1) == labels).float().mean())


def layers(*sizes):
    """Layers with a ReLU between them."""
    made = []
    for num_inputs, num_nodes in itertools.pairwise(sizes):
        made += [torch.nn.Linear(num_inputs, num_nodes), torch.nn.ReLU()]
    return torch.nn.Sequential(*made[:-1])


generator = torch.Generator().manual_seed(1)
ring = torch.arange(400) % 2
radius = 0.6 + 1.0 * ring + 0.15 * torch.randn(400, generator=generator)
angle = 2 * torch.pi * torch.rand(400, generator=generator)
points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
across = torch.linspace(-2.2, 2.2, 160)
places = torch.cartesian_prod(across, across)
figure, grid = plt.subplots(1, 4, figsize=(11, 3.1), sharey=True)
sizes = {"linear model": (2, 2), "2 layers, no ReLU": (), "1 hidden layer, 3 nodes": (2, 3, 2), "16 nodes": (2, 16, 2)}
for axes, (name, chosen) in zip(grid, sizes.items(), strict=True):
    torch.manual_seed(3)
    model = layers(*chosen) if chosen else torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Linear(16, 2))
    train(model, points, ring, steps=1000)
    with torch.no_grad():
        answer = model(places).argmax(1).view(160, 160).T
    axes.contourf(across, across, answer, levels=[-0.5, 0.5, 1.5], colors=["0.8", "white"])
    for kind, (marker, color) in enumerate((("o", "white"), ("^", "black"))):
        axes.scatter(*points[ring == kind].T, s=9, marker=marker, c=color, edgecolors="black", lw=0.5)
    axes.set(title=f"{name}\n{share_right(model, points, ring):.0%} right", xlabel="first number")
grid[0].set_ylabel("second number")
plt.show()

# %% [markdown]
r"""
Circles are the inner ring, triangles the outer one; grey and white are what each network answers at every place. A
straight line cannot part them, nor can layers that amount to one. Each hidden node adds a line at which the border may
bend.

### The same on real images

Is a digit even or odd? The even digits, 0, 2, 4, 6 and 8, have no shape in common that the odd ones lack, so a single
weighted sum of pixels should find it hard. We train a linear model and a network with a hidden layer of 64 nodes, each
five times from other random weights, and count right answers on the test images.
"""

# %%
even = (labels % 2 == 0).long()
found = {"linear model": [], "one hidden layer": []}
for seed in range(5):
    for name, chosen in {"linear model": (64, 2), "one hidden layer": (64, 64, 2)}.items():
        torch.manual_seed(seed)
        model = train(layers(*chosen), pixels[to_train], even[to_train], steps=600, rate=0.003, seed=seed)
        found[name].append(100 * share_right(model, pixels[to_test], even[to_test]))
figure, axes = plt.subplots(figsize=(5, 2.2))
for row, (values, marker) in enumerate(zip(found.values(), "os", strict=True)):
    axes.plot(values, [row] * 5, marker, color="black", fillstyle="none", markersize=8)
axes.set(yticks=[0, 1], yticklabels=list(found), ylim=(-0.5, 1.5), xlabel="test images right (%)", title="Even or odd?")
plt.show()
mean = {name: np.mean(values) for name, values in found.items()}
Markdown(
    f"The linear model is right on **{mean['linear model']:.1f} %** of them, the network with a hidden layer on "
    f"**{mean['one hidden layer']:.1f} %** (means of five). Best and worst of the five are "
    f"{np.ptp(found['linear model']):.1f} and {np.ptp(found['one hidden layer']):.1f} percentage points apart."
)

# %% [markdown]
r"""
## What hidden nodes look for

What a node puts out about an image is a **feature** of it. A node of the first hidden layer has one weight for each
pixel, so its weights can be looked at as a picture: white where brightness speaks for the feature, black where it
speaks against, grey where it hardly counts. We train on Fashion-MNIST, 28 × 28 pixels of clothes in ten classes (Xiao,
Rasul & Vollgraf 2017).
"""

# %%
clothes = ImageDataModule(FashionMNIST(), batch_size=64, seed=0)
clothes.setup("fit")
num_train, num_test = 8000, 2000
chosen, others = clothes.train_indices[:num_train], clothes.test_indices[:num_test]
seen = (clothes.images[chosen].float() / 255 - clothes.mean[0]) / clothes.std[0]
unseen = (clothes.images[others].float() / 255 - clothes.mean[0]) / clothes.std[0]
seen_labels, unseen_labels = clothes.labels[chosen], clothes.labels[others]

torch.manual_seed(0)
mlp = torch.nn.Sequential(MLP(1, 28, depth=1, width=64), LinearHead(64, 10))
mlp[0].layers[1].weight.data.mul_(0.1)  # begins near zero, so that what is seen below has been learnt
train(mlp, seen, seen_labels, 800, rate=0.002)
weights = mlp[0].layers[1].weight.detach().view(64, 28, 28)
strongest = weights.flatten(1).norm(dim=1).argsort(descending=True)[:12]
figure, grid = plt.subplots(2, 6, figsize=(9, 3.2))
for axes, node in zip(grid.flat, strongest, strict=True):
    limit = float(weights[node].abs().max())
    axes.imshow(weights[node], cmap="gray", vmin=-limit, vmax=limit)
    axes.set(xticks=[], yticks=[], title=f"node {int(node)}")
figure.suptitle("The weights of twelve hidden nodes, each as a picture")
plt.show()
Markdown(
    f"The network is right on {share_right(mlp, unseen, unseen_labels):.1%} of {num_test:,} test images. Some of its "
    "nodes seem to look for rough shapes (sleeves, the gap between trouser legs) at fixed places."
)

# %% [markdown]
r"""
### A convolutional network: the same small detector everywhere

A sleeve is a sleeve wherever it is. A **convolution** is a node that looks at a small window only, here 3 × 3 pixels,
and is moved over the whole image with the same nine weights at every place (Fukushima 1980, *Neocognitron*; LeCun et
al. 1989, *Backpropagation applied to handwritten zip code recognition*). What it puts out is an image again, its
**feature map**: bright where its pattern was found. **Pooling** halves its sides: of each square of 2 × 2 values it
keeps the largest. The next layer looks at all feature maps of the layer before, and so each of its nodes sees more of
the image. A network of such layers is a **convolutional network** (CNN).
"""

# %%
torch.manual_seed(0)
cnn = torch.nn.Sequential(CNN(1, 28, widths=(8, 16, 32), convolutions_per_stage=1), LinearHead(32, 10))
train(cnn, seen, seen_labels, 700, rate=0.01)
stages, maps, example = cnn[0].blocks, [], int((unseen_labels == 9).nonzero()[0])  # an ankle boot
with torch.no_grad():
    passing = unseen[example : example + 1]
    for stage in stages:
        passing = stage(passing)
        maps.append(passing[0])
figure, grid = plt.subplots(3, 9, figsize=(10, 3.9))
for row, (axes_row, feature_maps) in enumerate(zip(grid, maps, strict=True)):
    axes_row[0].imshow(unseen[example, 0])
    axes_row[0].set_ylabel(f"layer {row + 1}")
    brightest = feature_maps[feature_maps.mean((1, 2)).argsort(descending=True)][:8]
    for axes, feature_map in zip(axes_row[1:], brightest, strict=True):
        axes.imshow(feature_map)
for axes in grid.flat:
    axes.set(xticks=[], yticks=[])
grid[0, 0].set_title("image")
figure.suptitle("Eight feature maps of each layer: edges and surfaces first, in the end only where something was found")
plt.show()

# %% [markdown]
r"""
To see what the last layer looks for, we collect for four of its nodes the nine images to which each responds most (as
Zeiler & Fergus 2014 did, *Visualizing and understanding convolutional networks*).
"""

# %%
with torch.no_grad():
    features = cnn[0](unseen)  # [images, 32]: the largest value of each feature map
figure, grid = plt.subplots(4, 9, figsize=(10, 4.7))
for row, node in zip(grid, features.std(0).argsort(descending=True)[:4], strict=True):
    most = features[:, node].argsort(descending=True)[:9]
    for axes, image in zip(row, most, strict=True):
        axes.imshow(unseen[image, 0])
        axes.set(xticks=[], yticks=[])
    names = torch.bincount(unseen_labels[most], minlength=10)
    row[0].set_ylabel(f"node {int(node)}")
    row[4].set_title(f"{int(names.max())} of 9 are of class {clothes.class_names[int(names.argmax())]}", fontsize=9)
plt.show()

# %% [markdown]
r"""
### Layer by layer, classes come apart

If hidden layers extract what matters, then a linear model should do better on what they put out than on pixels, and
best on the last (Alain & Bengio 2016, *Understanding intermediate layers using linear classifier probes*). From each
layer we take its feature maps, shrunk to 7 × 7 places, and ask a linear model for 1 where a class is right and for 0
where not. We choose its weights so that its squared errors have the smallest sum, which takes no training: equations
give them at once.
"""


# %%
def linear_model_right(inputs, answers, new_inputs, new_answers, penalty=10.0):
    """The share of new inputs that is right, of a linear model with the smallest squared errors and no huge weights."""
    middle, spread = inputs.mean(0), inputs.std(0) + 1e-6
    known, new = (torch.nn.functional.pad((x - middle) / spread, (0, 1), value=1.0) for x in (inputs, new_inputs))
    wanted = torch.nn.functional.one_hot(answers, 10).float()
    solution = torch.linalg.solve(known.T @ known + penalty * torch.eye(known.shape[1]), known.T @ wanted)
    return float(((new @ solution).argmax(1) == new_answers).float().mean())


right, passing, passing_new = {}, seen[:4000], unseen
for number in range(len(stages) + 1):
    places = 28 if number == 0 else 7
    small = [torch.nn.functional.adaptive_avg_pool2d(x, places).flatten(1) for x in (passing, passing_new)]
    name = f"{'pixels' if number == 0 else f'layer {number}'}:\n{small[0].shape[1]:,} numbers"
    right[name] = 100 * linear_model_right(small[0], seen_labels[:4000], small[1], unseen_labels)
    if number < len(stages):
        with torch.no_grad():
            passing, passing_new = stages[number](passing), stages[number](passing_new)
figure, axes = plt.subplots(figsize=(5, 3))
axes.plot(list(right), list(right.values()), marker="o")
axes.set(ylabel="test images right (%)", xlabel="a linear model on …")
plt.show()
on_pixels, on_first, *_, on_last = right.values()
Markdown(
    f"**{on_pixels:.1f} %** on pixels, **{on_first:.1f} %** on the first layer, **{on_last:.1f} %** on the last; less "
    f"than a percentage point, {num_test // 100} of {num_test:,} images, may be chance. The network itself, whose head "
    f"sees only the largest value of each feature map, is right on {share_right(cnn, unseen, unseen_labels):.1%}."
)

# %% [markdown]
r"""
## Words of this notebook

| word | meaning |
| --- | --- |
| network | a function made of nodes, from numbers to numbers |
| pixels | the small squares of an image, each a number |
| label | the right answer for an image, given by a person |
| class | all images with the same label |
| test | to count right answers on images that were not learnt from |
| node | a weighted sum of numbers, plus a bias, through an activation function |
| weights | how much each number counts in a node's sum |
| weighted sum | numbers times their weights, added up |
| bias | what is added to a node's weighted sum |
| parameters | all weights and biases of a network, which it learns |
| activation function | bends what a node has added up; without it layers would be no more than one |
| ReLU | the activation function max(0, z) |
| sigmoid | the activation function 1 / (1 + e⁻ᶻ), from 0 to 1 |
| tanh | the activation function of the same shape from −1 to 1 |
| layer | nodes that look at the same numbers |
| input layer | the pixels |
| hidden layer | nodes between the pixels and the answer |
| output layer | one node for each class; the largest is the answer |
| multilayer perceptron | a network in which every node looks at the whole layer before it |
| backbone | all layers but the output layer |
| head | the output layer |
| linear model | a network without a hidden layer |
| linearly separable | what a straight line, or its like with more numbers, can divide |
| training | changing parameters, step by step, until answers come near the labels |
| feature | what a node puts out about an image |
| convolution | one small node moved over the whole image |
| feature map | what a convolution puts out, an image again |
| pooling | keeping the largest of each square of values |
| convolutional network | a network of layers of convolutions |
"""

# %% [markdown]
r"""
## Exercise

How many nodes do the rings need? Try hidden layers of 1, 2, 3, 4 and 8 nodes, each from five other first weights, and
draw the share that is right. Why are two nodes not enough? Then train on digits from the command line, with more layers
or fewer: `leyden train data=digits backbone=mlp backbone.depth=1 backbone.width=32`.
"""

# %% tags=["quiz"]
# Now let's see if you've learned something. (`leyden quiz 1` asks in the terminal, and tells where you were wrong.)
from leyden.quiz import show

show(1)
