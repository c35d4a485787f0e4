# %% [markdown]
r"""
# 5 · Few labels

Labels cost money: a person has to look at each image. Two ways to need fewer of them: make more of the images there
are, and begin with what a network has learnt from other images. Both are measured over ever more labels, on real
images, and neither helps always.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from leyden.augment import (
    Affine,
    Augmentation,
    Brightness,
    Contrast,
    HorizontalFlip,
    Mix,
    PaddedCrop,
    QuarterTurn,
    RandomErasing,
    TrivialAugment,
)
from leyden.backbones import CNN, TimmBackbone
from leyden.data import ELPV, Batch, Digits, EpochOrder, FashionMNIST, ImageDataModule
from leyden.heads import LinearHead, NormedHead
from leyden.report.statistics import difference, estimate

plt.style.use("lesson.mplstyle")
torch.set_num_threads(1)


def learn(network, images, labels, augment, num_steps, batch_size, rate, seed):
    """Trains a network on few images, augmented anew in each epoch, with a rate that falls to zero."""
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.05)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    order, epoch, step = EpochOrder(len(labels), seed), 0, 0
    while step < num_steps:
        order.set_epoch(epoch)
        for indices in order.positions().split(batch_size)[: num_steps - step]:
            inputs, targets = augment(Batch(images[indices], labels[indices], indices), epoch, step)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(inputs), targets).backward()
            optimizer.step()
            falling.step()
            step += 1
        epoch += 1
    return network.eval()


def share_right(network, augment, images, labels):
    """The share of images that is answered right, in per cent."""
    with torch.no_grad():
        answers = [network(augment.normalize(some)).argmax(1) for some in images.split(64)]
    return 100 * float((torch.cat(answers) == labels).float().mean())


def gains(found, plain, others, amounts):
    """A table of mean differences from `plain`, paired by seed, with 95 % intervals."""
    lines = [
        f"| labels per class | {' | '.join(f'{other} − {plain}' for other in others)} |",
        "| --: |" + " --- |" * len(others),
    ]
    for amount in amounts:
        pairs = [difference(found[other, amount], found[plain, amount], is_paired=True) for other in others]
        cells = [f"{gain.mean:+.1f} points (95 % interval {gain.low:+.1f} to {gain.high:+.1f})" for gain in pairs]
        lines.append(f"| {amount} | {' | '.join(cells)} |")
    return Markdown("\n".join(lines))


# %% [markdown]
r"""
## Data augmentation

A shirt that is moved by two pixels is still a shirt. **Data augmentation** shows a network, in each epoch, another
such variant of each image, under the same label (already in Simard, Steinkraus & Platt 2003, *Best practices for
convolutional neural networks applied to visual document analysis*; a survey: Shorten & Khoshgoftaar 2019). It says
what must *not* matter: an **invariance** that otherwise would have to be learnt from labels. Test images stay as they
are.

What the operations do, on an image of Fashion-MNIST; each column is another epoch. TrivialAugment (Müller & Hutter
2021) applies one of fourteen operations at a random strength; random erasing (Zhong et al. 2020) covers a part.
"""

# %%
data = ImageDataModule(FashionMNIST(), batch_size=64, seed=0)
data.setup("fit")
facts = {"num_classes": 10, "mean": data.mean, "std": data.std, "seed": 0, "image_size": 28}
operations = {
    "crop": PaddedCrop(padding=4), "flip": HorizontalFlip(), "turn, scale, shear": Affine(15, 0.0, (0.8, 1.2), 10),
    "brightness": Brightness(0.5), "contrast": Contrast(0.5), "erasing": RandomErasing(probability=1.0),
    "TrivialAugment": TrivialAugment(),
}  # fmt: skip
boot = data.images_at(data.train_indices[(data.labels[data.train_indices] == 9).nonzero()[:1, 0]])
figure, grid = plt.subplots(len(operations), 8, figsize=(8, 7.2))
for row, (name, operation) in zip(grid, operations.items(), strict=True):
    augment = Augmentation({name: operation}, **facts)
    row[0].imshow(boot.images[0, 0])
    for epoch, axes in enumerate(row[1:]):
        axes.imshow(augment.show(boot, epoch)[0][0, 0], vmin=0, vmax=1)
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
for axes in grid.flat:
    axes.set(xticks=[], yticks=[])
for column, axes in enumerate(grid[0]):
    axes.set_title("original" if column == 0 else f"epoch {column - 1}", fontsize=9)
plt.show()

# %% [markdown]
r"""
Two more blend images *and* labels: mixup (Zhang et al. 2018) adds two images in shares, CutMix (Yun et al. 2019)
pastes a box of one into the other. The label becomes as mixed as the image.
"""

# %%
batch = data.some_training_images(8)
targets = torch.nn.functional.one_hot(batch.labels, 10).float()
figure, grid = plt.subplots(3, 8, figsize=(10, 4.4))
shown = {"original": (batch.images / 255, targets)}
shown["mixup"] = Mix(mixup=1.0, cutmix=0.0)(batch.images / 255, targets, (0, 0, 0))
shown["CutMix"] = Mix(mixup=0.0, cutmix=1.0)(batch.images / 255, targets, (0, 0, 1))
for row, (name, (images, blended)) in zip(grid, shown.items(), strict=True):
    row[0].set_ylabel(name)
    for axes, image, target in zip(row, images, blended, strict=True):
        axes.imshow(image[0], vmin=0, vmax=1)
        words = [
            f"{share:.0%} {data.class_names[index]}" for index, share in enumerate(target.tolist()) if share > 0.005
        ]
        axes.set_title("\n".join(words).replace("100% ", ""), fontsize=7)
        axes.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
r"""
### Which invariance is true? Label efficiency on digits

An augmentation is a claim about the world, and it can be false: a digit that leans is the same digit, one in a mirror
is not. We train a small convolutional network on 5, 20 and 80 labels of each digit, without augmentation, with turns,
shifts and shears, and with mirror images; 400 steps each, on three draws of the images. Accuracy over the number of
labels is a **label-efficiency curve**: read across, it says how many labels an augmentation is worth.
"""

# %%
kinds = {
    "as they are": {},
    "turns, shifts, shears": {"affine": Affine(15.0, 0.1, (0.85, 1.15), 10.0)},
    "mirror images": {"flip": HorizontalFlip()},
}
amounts, found = [5, 20, 80], {}
for amount in amounts:
    for seed in range(3):
        digits = ImageDataModule(Digits(), 10, seed=0, labels_per_class=amount, split_seed=seed)
        digits.setup("fit")
        parts = [(digits.images[i], digits.labels[i]) for i in (digits.train_indices, digits.test_indices)]
        for name, chosen in kinds.items():
            torch.manual_seed(seed)
            network = torch.nn.Sequential(CNN(1, 8, widths=(16, 32, 64)), LinearHead(64, 10))
            augment = Augmentation(chosen, num_classes=10, mean=digits.mean, std=digits.std, seed=seed)
            learn(network, *parts[0], augment, num_steps=400, batch_size=50, rate=0.01, seed=seed)
            found.setdefault((name, amount), []).append(share_right(network, augment, *parts[1]))

# %%
figure, axes = plt.subplots(figsize=(6, 3.4))
for shift, name, marker in zip((1.0, 1.04, 0.96), kinds, "os^", strict=True):
    estimates = [estimate(found[name, amount]) for amount in amounts]
    means = [each["mean"] for each in estimates]
    reach = [(each["high"] - each["low"]) / 2 for each in estimates]
    axes.errorbar(np.array(amounts) * shift, means, yerr=reach, marker=marker, capsize=3, label=name)
axes.set_xscale("log")
axes.set(xticks=amounts, xticklabels=amounts, xlabel="labels per class", ylabel="test images right (%)")
axes.set_title("Mean of three draws of the images, 95 % intervals")
axes.minorticks_off()
axes.legend()
plt.show()
display(gains(found, "as they are", ["turns, shifts, shears", "mirror images"], amounts))

# %% [markdown]
r"""
Three draws give wide intervals: where one includes 0, that gain is not shown. `leyden train -m study=labels
data=fashion_mnist` asks on clothes, for longer.

## Transfer learning

**Transfer learning** begins with the weights of a network that was trained on another, larger task, its
**pretrained** weights: edges, textures and shapes are of use elsewhere too (Yosinski et al. 2014, *How transferable
are features in deep neural networks?*; Kornblith, Shlens & Le 2019, *Do better ImageNet models transfer better?*).
Two ways:

- a **linear probe** leaves them as they are and trains a new output layer on the features (Alain & Bengio 2016);
- **fine-tuning** trains everything on, from there, at a small learning rate;

and to compare with, **from scratch**: the same network from random weights.

The weights are EfficientNet-Lite0's, from 1.3 million photographs of ImageNet's 1,000 classes (Tan & Le 2019; Deng et
al. 2009); they come in a package, no network is needed. The task is far from such photographs: which solar cells,
seen glowing under current, are defective (Deitsch et al. 2019, *Automatic classification of defective photovoltaic
module cells in electroluminescence images*)? With 5 and 25 labelled cells of each kind. (The images' licence, CC
BY-NC-SA 4.0, forbids to keep them here.)
"""


# %%
def cells_of(labels_per_class, seed):
    """Labelled cells to learn from, and other cells, 48 pixels wide, with their labels."""
    source = ELPV(image_size=48, threshold=0.5)
    cells = ImageDataModule(
        source, 10, seed=0, labels_per_class=labels_per_class, split_seed=seed, test_fraction=0.1, num_workers=0
    )
    cells.setup("fit")
    batches = [cells.images_at(indices) for indices in (cells.train_indices, cells.test_indices)]
    return [(batch.images, batch.labels) for batch in batches]


rates = {"from scratch": 0.003, "linear probe": 0.01, "fine-tuning": 0.001}
views = {"flip": HorizontalFlip(), "turn": QuarterTurn()}  # a cell has no upright
amounts, transferred = [5, 25], {}
for amount in amounts:
    for seed in range(3):
        parts = cells_of(amount, seed)
        augment = Augmentation(
            views, num_classes=2, mean=(0.5,), std=(0.5,), seed=seed
        )  # as the weights have seen images
        for way, rate in rates.items():
            torch.manual_seed(seed)
            backbone = TimmBackbone(
                1, 48, "tf_efficientnet_lite0", pretrained=False if way == "from scratch" else "package"
            )
            network = torch.nn.Sequential(backbone.to(memory_format=torch.channels_last), NormedHead(1280, 2))
            if way == "linear probe":
                backbone.eval().requires_grad_(False)
            learn(network, *parts[0], augment, num_steps=30, batch_size=10, rate=rate, seed=seed)
            transferred.setdefault((way, amount), []).append(share_right(network, augment, *parts[1]))

# %%
figure, axes = plt.subplots(figsize=(6, 3.4))
for shift, way, marker in zip((0.94, 1.0, 1.06), rates, "os^", strict=True):
    means = [np.mean(transferred[way, amount]) for amount in amounts]
    (drawn,) = axes.plot(np.array(amounts) * shift, means, label=way)
    for amount in amounts:
        places = [amount * shift] * 3
        axes.plot(places, transferred[way, amount], marker, color=drawn.get_color(), fillstyle="none", linestyle="none")
axes.set_xscale("log")
axes.set(xticks=amounts, xticklabels=amounts, xlabel="labels per class", ylabel="test cells right (%)")
axes.set_title("Three draws of cells, and the line through their means")
axes.minorticks_off()
axes.legend()
plt.show()
display(gains(transferred, "from scratch", ["linear probe", "fine-tuning"], amounts))

# %% [markdown]
r"""
Small images, few steps, three draws: where an interval includes 0, this notebook has not shown a gain. The study over
10 to 1,837 labelled cells with five draws took an hour and a half; its means and intervals stand in
[docs/transfer.md](../docs/transfer.md), and `leyden train -m study=labels_transfer data=elpv
data.source.threshold=0.5 data.source.image_size=64` is its command; `make
finetune` compares with what is published. Two of three cells are sound, so always answering "sound" would be right on
two thirds: whoever is below has learnt little that helps.

## Words of this notebook

| word | meaning |
| --- | --- |
| data augmentation | other variants of the training images in each epoch, under the same labels |
| invariance | a change of the image that does not change the answer |
| label-efficiency curve | accuracy over the number of labels |
| transfer learning | beginning with what a network has learnt from another task |
| pretrained | with weights of another task |
| linear probe | a new output layer on features that stay as they are |
| fine-tuning | training a pretrained network on, all of it |
| from scratch | from random weights |
"""

# %% [markdown]
r"""
## Exercise

Which of `augment=standard`'s operations suits solar cells, and which does not? Look first:
`leyden preview data=elpv augment=standard`, then `augment=flips_turns`. A cell has no upright; a digit has. Write down
for each operation whether its invariance is true, and test the one that you doubt most with a study of two levels and
five seeds.
"""

# %% tags=["quiz"]
# Now let's see if you've learned something. (`leyden quiz 5` asks in the terminal, and tells where you were wrong.)
from leyden.quiz import show

show(5)
