"""Network > **features** > page: what the head is given of each image, as points on a plane, by t-SNE."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leyden.classifier import features_of
from leyden.data import Batch
from leyden.trained import Trained, probabilities_of

PERPLEXITY = 30.0  # about so many neighbours of each point count
SEED = 0


class Points(NamedTuple):
    """Images on the plane, N of them."""

    places: NDArray[np.float64]  # [N, 2]
    labels: Tensor  # as the task says
    answers: Tensor  # probabilities [N, K], or numbers [N]
    indices: Tensor  # of the images in their data


@torch.inference_mode()
def points_of(trained: Trained, batches: Iterable[Batch]) -> Points:
    """Features of all images, brought to the plane, with what the network answered (one look, no temperature)."""
    features, outputs, labels, indices = [], [], [], []
    for batch in batches:
        with trained.precision():
            images = trained.classifier.augment.normalize(batch.images.to(trained.device))
            found = features_of(images, trained.classifier.backbone)
            outputs.append(trained.classifier.head(found).float().cpu())
        features.append(found.float().cpu())
        labels.append(batch.labels.cpu())
        indices.append(batch.indices.cpu())
    answers = probabilities_of(torch.cat(outputs), trained.facts.task)
    return Points(on_a_plane(torch.cat(features).numpy()), torch.cat(labels), answers, torch.cat(indices))


def on_a_plane(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Places [N, 2] in which neighbours among features [N, F] stay neighbours (van der Maaten & Hinton 2008).

    Distances between groups mean little there. The same features always give the same places.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ValueError("the map of features needs scikit-learn: pip install 'leyden[explain]'") from error
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    method = TSNE(perplexity=perplexity, init="pca", random_state=SEED)
    found: NDArray[np.float64] = method.fit_transform(features).astype(np.float64)
    return found
