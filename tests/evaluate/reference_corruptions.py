"""Writes corruptions.npz: what the package imagecorruptions makes of a photograph, which tests hold ours against.

    pip install imagecorruptions-imaug==1.1.5 && python tests/evaluate/reference_corruptions.py

The photograph is 64 pixels of scikit-image's astronaut. Of corruptions that draw nothing the images are kept, of the
others how much they change, how bright, how rough and how wide in range they are, on average over 40 draws, of frost,
which draws one of six photographs, over 400.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("corruptions.npz")
EXACT = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
DRAWN = ("gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "snow", "fog", "elastic_transform", "frost")
LEVELS = (1, 3, 5)
NUM_DRAWS = 40
NUM_DRAWS_OF_FROST = 400


def photograph() -> NDArray[np.uint8]:
    """uint8 [64, 64, 3]."""
    from skimage.data import astronaut

    found: NDArray[np.uint8] = astronaut()[60:124, 190:254]
    return found


def looks(images: NDArray[np.uint8], original: NDArray[np.uint8]) -> list[float]:
    """Mean change, mean, standard deviation and mean step between neighbours of images [N, H, W, C]."""
    pixels = images.astype(np.float64)
    change = np.abs(pixels - original).mean()
    steps = [np.abs(np.diff(pixels, axis=axis)).mean() for axis in (1, 2)]
    return [float(change), float(pixels.mean()), float(pixels.std()), float(np.mean(steps))]


def main() -> None:
    from imagecorruptions import corrupt  # type: ignore[import-not-found]

    original = photograph()
    np.random.seed(0)  # noqa: NPY002  the package draws from it
    arrays = {}
    for level in LEVELS:
        for name in EXACT:
            arrays[f"{name}_{level}"] = corrupt(original, corruption_name=name, severity=level)
        for name in DRAWN:
            count = NUM_DRAWS_OF_FROST if name == "frost" else NUM_DRAWS
            drawn = [corrupt(original, corruption_name=name, severity=level) for _ in range(count)]
            arrays[f"{name}_{level}"] = np.array(looks(np.stack(drawn), original))
    np.savez_compressed(FILE, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
