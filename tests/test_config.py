"""The typed root, and where keys come from."""

from leyden.config import suggest


def test_suggestion_names_the_nearest_word_or_all() -> None:
    assert suggest("adma", ["adam", "sgd"]) == "did you mean 'adam'?"
    assert suggest("zzz", ["adam", "sgd"]) == "expected one of adam, sgd"
