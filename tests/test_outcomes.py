"""What outputs say beside the metrics, against scikit-learn and a run's own tables."""

import numpy as np
import torch
from sklearn.metrics import confusion_matrix, precision_recall_curve

from leyden.draw import read_matrix
from leyden.metrics import MultiLabelMetrics, metrics_for
from leyden.outcomes import OUTCOMES

NAMES = ("a", "b", "c")


def test_matrix_and_curves_of_one_class_per_image_are_those_of_scikit_learn(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    logits, labels = torch.randn(60, 3), torch.randint(2, (60,))  # the last class does not occur
    metrics = metrics_for("single_label", NAMES)[1]
    metrics.update(logits, labels)
    found = OUTCOMES["single_label"](metrics, logits, labels, NAMES)
    assert found.matrix is not None
    assert (found.matrix == confusion_matrix(labels, logits.argmax(1), labels=[0, 1, 2])).all()
    assert found.curves is not None
    assert list(found.curves) == ["a", "b"]
    precision, recall, _ = precision_recall_curve(labels == 0, logits.softmax(1)[:, 0])
    np.testing.assert_allclose(found.curves["a"][0], precision[:-1][::-1])
    np.testing.assert_allclose(found.curves["a"][1], recall[:-1][::-1])
    found.write_tables(NAMES, tmp_path)
    assert (read_matrix(tmp_path / "confusion_matrix.csv")[0] == found.matrix).all()


def test_means_of_metrics_lie_within_their_intervals() -> None:
    torch.manual_seed(1)
    for task in ("single_label", "multi_label", "regression"):
        outputs = torch.randn(80) if task == "regression" else torch.randn(80, 3)
        labels = {
            "single_label": torch.randint(3, (80,)),
            "multi_label": torch.randint(2, (80, 3)).float(),
            "regression": torch.randn(80),
        }[task]
        metrics = metrics_for(task, NAMES if task != "regression" else ())[1]  # type: ignore[arg-type]
        metrics.update(outputs, labels)
        found = OUTCOMES[task](metrics, outputs, labels, NAMES)  # type: ignore[index]
        for name, value in metrics.compute().items():
            low, high = found.intervals[name]
            assert low <= value <= high, (task, name)


def test_thresholds_of_any_size_are_read_as_they_were() -> None:
    metrics = metrics_for("multi_label", NAMES)[1]
    assert isinstance(metrics, MultiLabelMetrics)
    metrics.thresholds.logits.copy_(torch.tensor([-3.0, 12.0, 25.0]))
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    logits = 30 * labels - 10
    metrics.update(logits, labels)
    classes = OUTCOMES["multi_label"](metrics, logits, labels, NAMES).classes
    assert classes is not None
    kept = torch.tensor([float(str(row[-1])) for row in classes], dtype=torch.float64)
    torch.testing.assert_close(kept.logit().float(), metrics.thresholds.logits, rtol=1e-5, atol=0)
