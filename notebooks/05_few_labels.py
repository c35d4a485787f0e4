# %% [markdown]
r"""
# 5 · Few labels

Labels cost money: a person has to look at each image. Two ways to need fewer of them: make more of the images there
are, and begin with what a network has learnt from other images. Both are measured over ever more labels, on real
images, and neither helps always.
"""

# %%
import csv
import os
import sys
import tempfile
from pathlib import Path

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
from leyden.data import FashionMNIST, ImageDataModule
from leyden.report.statistics import difference, estimate

plt.style.use("lesson.mplstyle")
torch.set_num_threads(1)
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `leyden` below is this Python's
scratch = tempfile.TemporaryDirectory(prefix="leyden_")  # what is trained here is written there, and goes in the end
os.chdir(scratch.name)


def read_runs(study):
    """The rows of a study's table of results."""
    (table,) = Path("runs").glob(f"*/{study}/results.csv")
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def accuracies(runs, **levels):
    """Test accuracies in per cent, by seed, of the runs with these levels."""
    wanted = {key.replace("__", "."): str(value) for key, value in levels.items()}
    chosen = [run for run in runs if all(run[key] == value for key, value in wanted.items())]
    return [100 * float(run["test/accuracy"]) for run in sorted(chosen, key=lambda run: int(run["seed"]))]


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
is not. We train on 5, 20 and 80 labels of each digit, without augmentation, with turns, shifts and shears (an option
of our own: a file of a few lines), and with crops and mirror images (`augment=flip_crop`, made for photographs).
Accuracy over the number of labels is a **label-efficiency curve**: read across, it says how many labels an
augmentation is worth.
"""

# %%
Path("my_conf/augment").mkdir(parents=True)
Path("my_conf/augment/leaning.yaml").write_text("""_target_: leyden.augment.Augmentation
operations:
  affine: {_target_: leyden.augment.Affine, degrees: 15.0, translate: 0.1, scale: [0.85, 1.15], shear: 10.0}
mix: null
""")
settings = "data=digits data.split_seed='${seed}' backbone.widths=[8,16,32] batch_size=20 steps=120"
settings += " trainer=cpu logger=csv"
sweep = "augment=none,leaning,flip_crop data.labels_per_class=5,20,80 seed=0,1,2"
# !leyden train -m --config-dir my_conf {settings} {sweep} study=augmentations | grep -A 12 "finished$"

# %%
runs, amounts = read_runs("augmentations"), [5, 20, 80]
figure, axes = plt.subplots(figsize=(6, 3.4))
names = {"none": "as they are", "leaning": "turns, shifts, shears", "flip_crop": "crops, mirror images"}
for (option, name), marker in zip(names.items(), "os^", strict=True):
    found = [estimate(accuracies(runs, augment=option, data__labels_per_class=amount)) for amount in amounts]
    means = np.array([each["mean"] for each in found])
    reach = np.array([(each["high"] - each["low"]) / 2 for each in found])
    place = np.array(amounts) * {"none": 1.0, "leaning": 1.04, "flip_crop": 0.96}[option]
    axes.errorbar(place, means, yerr=reach, marker=marker, capsize=3, label=name)
axes.set_xscale("log")
axes.set(xticks=amounts, xticklabels=amounts, xlabel="labels per class", ylabel="test images right (%)")
axes.set_title("Mean of three draws of the images, 95 % intervals")
axes.minorticks_off()
axes.legend()
plt.show()
lines = [
    "| labels per class | turns, shifts, shears: gain in points | crops, mirror images: gain in points |",
    "| --: | --- | --- |",
]
for amount in amounts:
    plain = accuracies(runs, augment="none", data__labels_per_class=amount)
    cells = []
    for option in ("leaning", "flip_crop"):
        gain = difference(accuracies(runs, augment=option, data__labels_per_class=amount), plain, is_paired=True)
        cells.append(f"{gain.mean:+.1f} (95 % interval {gain.low:+.1f} to {gain.high:+.1f})")
    lines.append(f"| {amount} | {' | '.join(cells)} |")
display(Markdown("\n".join(lines)))

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
Path("my_conf/study").mkdir()
Path("my_conf/study/cells.yaml").write_text("""# @package _global_
data:
  source: {threshold: 0.5, image_size: 48}
  split_seed: ${seed}        # each seed draws other cells
  test_fraction: 0.1
  validation_fraction: 0.04
  num_workers: 0
batch_size: 10
epochs: "${by_choice:data.labels_per_class,{5: 10, 25: 6}}"
optimizer:
  lr: "${by_choice:finetune,{scratch: 0.003, linear_probe: 0.001, full: 0.001}}"
trainer:
  check_val_every_n_epoch: ${epochs}
hydra:
  sweeper:
    params:
      finetune: scratch,linear_probe,full
      data.labels_per_class: 5,25
      seed: 0,1,2
""")
settings = "data=elpv backbone=lite0 head=normed augment=flips_turns trainer=cpu logger=csv"
# !leyden train -m --config-dir my_conf {settings} study=cells | grep -A 12 "finished$"

# %%
runs, amounts = read_runs("cells"), [5, 25]
figure, axes = plt.subplots(figsize=(6, 3.4))
ways = {"scratch": "from scratch", "linear_probe": "linear probe", "full": "fine-tuning"}
for shift, ((way, name), marker) in zip((0.94, 1.0, 1.06), zip(ways.items(), "os^", strict=True), strict=True):
    found = [accuracies(runs, finetune=way, data__labels_per_class=amount) for amount in amounts]
    (drawn,) = axes.plot(np.array(amounts) * shift, [np.mean(values) for values in found], label=name)
    for amount, values in zip(amounts, found, strict=True):
        axes.plot([amount * shift] * 3, values, marker, color=drawn.get_color(), fillstyle="none", linestyle="none")
axes.set_xscale("log")
axes.set(xticks=amounts, xticklabels=amounts, xlabel="labels per class", ylabel="test cells right (%)")
axes.set_title("Three draws of cells, and the line through their means")
axes.minorticks_off()
axes.legend()
plt.show()
lines = ["| labels per class | linear probe − scratch | fine-tuning − scratch |", "| --: | --- | --- |"]
for amount in amounts:
    new = accuracies(runs, finetune="scratch", data__labels_per_class=amount)
    cells = []
    for way in ("linear_probe", "full"):
        gain = difference(accuracies(runs, finetune=way, data__labels_per_class=amount), new, is_paired=True)
        cells.append(f"{gain.mean:+.1f} points (95 % interval {gain.low:+.1f} to {gain.high:+.1f})")
    lines.append(f"| {amount} | {' | '.join(cells)} |")
display(Markdown("\n".join(lines)))

# %% [markdown]
r"""
Small images, few steps, three draws: enough to see a direction, not a size. The study over 10 to 1,837 labelled cells
with five draws took an hour and a half; its curves and intervals stand in [docs/transfer.md](../docs/transfer.md), and
`make finetune` compares with what is published. Two of three cells are sound, so always answering "sound" would be
right on two thirds: whoever is below has learnt little that helps.

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
