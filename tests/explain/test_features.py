"""The map of features: neighbours stay neighbours, and the same features always have the same places."""

import numpy as np

from leyden.explain.features import on_a_plane


def test_groups_stay_together_and_places_are_repeated() -> None:
    generator = np.random.default_rng(0)
    centres = 20 * generator.normal(size=(3, 8))
    features = (centres[np.arange(60) % 3] + generator.normal(size=(60, 8))).astype(np.float32)
    places = on_a_plane(features)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(1) % 3 == np.arange(60) % 3).all()
    np.testing.assert_array_equal(on_a_plane(features), places)


def test_few_images_have_places_too() -> None:
    assert on_a_plane(np.eye(5, dtype=np.float32)).shape == (5, 2)
