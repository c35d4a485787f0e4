# %% [markdown]
r"""
# 5 · Few labels

Labels cost money: a person has to look at each image. Two ways to need fewer of them: make more of the images there
are, and begin with what a network has learnt from other images. Both are measured over ever more labels, on real
images, and neither helps always.
"""

# %%
import copy

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
    RandomErasing,
    TrivialAugment,
)
from leyden.backbones import CNN, TimmBackbone
from leyden.data import Batch, Digits, EpochOrder, FashionMNIST, ImageDataModule
from leyden.heads import LinearHead, NormedHead
from leyden.report.statistics import difference, estimate

plt.style.use("lesson.mplstyle")
torch.set_num_threads(1)


def learn(network, images, labels, augment, num_steps, batch_size, rate, seed):
    """Trains on few images, augmented anew in each epoch, or on features; the rate falls to zero."""
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.05)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    order, epoch, step = EpochOrder(len(labels), seed), 0, 0
    while step < num_steps:
        order.set_epoch(epoch)
        for indices in order.positions().split(batch_size)[: num_steps - step]:
            inputs, targets = images[indices], labels[indices]
            if augment is not None:
                inputs, targets = augment(Batch(inputs, targets, indices), epoch, step)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(inputs), targets).backward()
            optimizer.step()
            falling.step()
            step += 1
        epoch += 1
    return network.eval()


def share_right(network, inputs, labels):
    """The share of images, or of their features, that is answered right, in per cent."""
    with torch.no_grad():
        answers = [network(some).argmax(1) for some in inputs.split(64)]
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
is not. We train a small convolutional network on 5 and 20 labels of each digit, without augmentation, with turns,
shifts and shears, and with mirror images; 400 and 150 steps, on three draws of the images. Accuracy over the number of
labels is a **label-efficiency curve**: read across, it says how many labels an augmentation is worth.
"""

# %%
kinds = {
    "as they are": {},
    "turns, shifts, shears": {"affine": Affine(15.0, 0.1, (0.85, 1.15), 10.0)},
    "mirror images": {"flip": HorizontalFlip()},
}
amounts, found = {5: 400, 20: 150}, {}  # labels per class, and steps
for amount, num_steps in amounts.items():
    for seed in range(3):
        digits = ImageDataModule(Digits(), 10, seed=0, labels_per_class=amount, split_seed=seed)
        digits.setup("fit")
        parts = [(digits.images[i], digits.labels[i]) for i in (digits.train_indices, digits.test_indices)]
        for name, chosen in kinds.items():
            torch.manual_seed(seed)
            network = torch.nn.Sequential(CNN(1, 8, widths=(16, 32, 64)), LinearHead(64, 10))
            augment = Augmentation(chosen, num_classes=10, mean=digits.mean, std=digits.std, seed=seed)
            learn(network, *parts[0], augment, num_steps, batch_size=50, rate=0.01, seed=seed)
            right = share_right(network, augment.normalize(parts[1][0]), parts[1][1])
            found.setdefault((name, amount), []).append(right)


def draw_curves(curves, amounts, title):
    """Mean shares of right answers over the number of labels, with 95 % intervals."""
    _, axes = plt.subplots(figsize=(6, 3.4))
    for shift, (name, by_amount), marker in zip((1, 1.04, 0.96, 1.08, 0.92), curves.items(), "os^vD", strict=False):
        estimates = [estimate(values) for values in by_amount.values()]
        reach = [(each["high"] - each["low"]) / 2 for each in estimates]
        places = np.array(list(by_amount)) * shift
        means = [each["mean"] for each in estimates]
        axes.errorbar(places, means, yerr=reach, marker=marker, capsize=3, label=name)
    axes.set_xscale("log")
    axes.set(
        xticks=amounts, xticklabels=amounts, xlabel="labels per class", ylabel="test images right (%)", title=title
    )
    axes.minorticks_off()
    axes.legend(fontsize=8)
    plt.show()


draw_curves(
    {name: {amount: found[name, amount] for amount in amounts} for name in kinds},
    list(amounts),
    "Mean of three draws of the images, 95 % intervals",
)
display(gains(found, "as they are", ["turns, shifts, shears", "mirror images"], amounts))

# %% [markdown]
r"""
Where an interval includes 0, that gain is not shown. `leyden train -m study=labels data=fashion_mnist` asks on
clothes, for longer.

## Transfer learning

**Transfer learning** begins with the weights of a network that was trained on another, larger task, its
**pretrained** weights: edges, textures and shapes are of use elsewhere too (Yosinski et al. 2014, *How transferable
are features in deep neural networks?*; Kornblith, Shlens & Le 2019, *Do better ImageNet models transfer better?*).
Two ways:

- a **linear probe** leaves them as they are and trains a new output layer on the features (Alain & Bengio 2016);
- **fine-tuning** trains everything on, from there, at a small learning rate;

and to compare with, **from scratch**: a network all of whose weights begin at random.

The weights are EfficientNet-Lite0's, from 1.3 million photographs of ImageNet's 1,000 classes (Tan & Le 2019; Deng et
al. 2009); they come in a package, no network is needed. The task is far from such photographs: small grey pictures of
clothes, ten kinds. A probe never changes the features, so each image's are computed once, for all draws and amounts
of labels. Those of the same network with *random* weights are a control: asked in the same way, they tell what is due
to the pretrained weights and to nothing else.
"""


# %%
def labelled(amount, seed):
    """The numbers of so many training images of each class; a larger draw of the same seed holds the smaller one."""
    shuffled = torch.randperm(len(data.train_indices), generator=torch.Generator().manual_seed(seed))
    order = data.train_indices[shuffled]
    return torch.cat([order[data.labels[order] == label][:amount] for label in range(10)])


def as_photographs(images):
    """Images as the pretrained weights have seen theirs: wider than 28 pixels, numbers from -1 to 1."""
    wider = torch.nn.functional.interpolate(images.float() / 127.5 - 1, size=48, mode="bilinear")
    return wider.to(memory_format=torch.channels_last)


amounts, seeds, test = [5, 25], range(5), data.test_indices[::20].clone()
used = torch.cat([*(labelled(max(amounts), seed) for seed in seeds), test]).unique()  # in rising order
backbones, features = {}, {}
torch.manual_seed(0)
for name, pretrained in (("pretrained", "package"), ("random", False)):
    backbone = TimmBackbone(1, 48, "tf_efficientnet_lite0", pretrained=pretrained)
    backbones[name] = backbone.to(memory_format=torch.channels_last).eval()
    with torch.no_grad():
        features[name] = torch.cat([backbone(as_photographs(data.images[some])) for some in used.split(64)])
print(f"{len(used):,} images, {features['pretrained'].shape[1]:,} features of each")

# %% [markdown]
r"""
With the larger amount of labels, two networks are trained from scratch: the same large one, with exactly what
fine-tuning gets (15 steps of 25 images, on three draws), and a small CNN in 100 steps, which suits so few small images.
"""


# %%
def trained_wholly(backbone, indices, rate, seed):
    """The share that a large network gets right after 15 steps of all its weights and a new output layer."""
    network = torch.nn.Sequential(copy.deepcopy(backbone), NormedHead(1280, 10)).train()
    learn(network, as_photographs(data.images[indices]), data.labels[indices], None, 15, 25, rate, seed)
    return share_right(network, as_photographs(data.images[test]), data.labels[test])


plain, transferred = Augmentation({}, **facts), {}
for amount in amounts:
    for seed in seeds:
        indices = labelled(amount, seed)
        right = {}
        for name, way in (("pretrained", "linear probe"), ("random", "probe of random weights")):
            known, asked = (features[name][torch.searchsorted(used, some)] for some in (indices, test))
            head = learn(NormedHead(1280, 10), known, data.labels[indices], None, 60, 250, 0.003, seed)
            right[way] = share_right(head, asked, data.labels[test])
        if amount == 25:
            torch.manual_seed(seed)
            small = torch.nn.Sequential(CNN(1, 28, widths=(8, 16, 32)), LinearHead(32, 10))
            learn(small, data.images[indices], data.labels[indices], plain, 100, 32, 0.01, seed)
            right["small CNN from scratch"] = share_right(small, plain.normalize(data.images[test]), data.labels[test])
        if amount == 25 and seed < 3:
            right["fine-tuning"] = trained_wholly(backbones["pretrained"], indices, 0.001, seed)
            right["large network from scratch"] = trained_wholly(backbones["random"], indices, 0.003, seed)
        for way, share in right.items():
            transferred.setdefault(way, {}).setdefault(amount, []).append(share)

# %%
draw_curves(transferred, amounts, "Five draws of the labels (large networks: three), 95 % intervals")
lines = ["| labels per class | | instead of the linear probe |", "| --: | --- | --- |"]
told = {}
for way, by_amount in transferred.items():
    for amount, values in by_amount.items() if way != "linear probe" else ():
        gain = difference(values, transferred["linear probe"][amount][: len(values)], is_paired=True)
        lines.append(
            f"| {amount} | {way} | {gain.mean:+.1f} points (95 % interval {gain.low:+.1f} to {gain.high:+.1f}) |"
        )
        told[way, amount] = "worse" if gain.high < 0 else "better" if gain.low > 0 else "not told apart"
display(Markdown("\n".join(lines)))
start = difference(*(transferred[way][25] for way in ("fine-tuning", "large network from scratch")), is_paired=True)
display(
    Markdown(
        "With 25 labels per class, beside the probe of pretrained weights: the same probe of random weights is "
        f"**{told['probe of random weights', 25]}**, the small CNN from scratch {told['small CNN from scratch', 25]}, "
        f"fine-tuning in 15 steps {told['fine-tuning', 25]}. The large network, all of it trained in 15 steps, is "
        f"right on **{start.mean:.1f} points** more (95 % interval {start.low:.1f} to {start.high:.1f}) if it "
        "begins with the pretrained weights."
    )
)

# %% [markdown]
r"""
The control tells what the pretrained weights themselves bring. "From scratch" depends on who begins: the large network
hardly leaves guessing in so few steps, and a small one comes far nearer. Nor is fine-tuning done after 15 steps, where
the probe has all it needs: nothing here says that it would stay behind. With larger images, more steps and up to all
labels, on solar cells, [docs/transfer.md](../docs/transfer.md) measures them; `leyden train -m study=labels_transfer
data=elpv data.source.threshold=0.5 data.source.image_size=64` is its command, whose rates are used here untuned, and
`make finetune` compares with what is published. Draws of the labels are repeated, the test images are the same for
all: for other test images the intervals are too narrow.

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
for each operation whether its invariance is true, and test the one that you doubt most with a study of two values and
five seeds.
"""

# %% tags=["quiz"]
# Now let's see if you've learned something. (`leyden quiz 5` asks in the terminal, and tells where you were wrong.)
from leyden.quiz import show

show(5)
