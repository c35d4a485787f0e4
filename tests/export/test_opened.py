"""What is opened as an export, and what is said of what is none."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from exports import untrained
from leyden.evaluate.quality import quality
from leyden.export.command import write
from leyden.export.graphs import DESCRIPTION
from leyden.predict.answers import thresholds_of
from leyden.trained import Answers, open_network


def foreign_onnx(path: Path) -> None:
    """A file of another program that is whole."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_files_that_are_none_get_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"no model" * 10)
    (tmp_path / "damaged.pt2").write_bytes(b"no archive" * 10)
    foreign_onnx(tmp_path / "foreign.onnx")
    for name, sentence in {
        "damaged.onnx": r"damaged.onnx cannot be opened \(.*: export it again",
        "damaged.pt2": r"damaged.pt2 cannot be opened \(.*: export it again",
        "foreign.onnx": r"foreign.onnx was not written by `leyden export`: its classes, .* are not known",
        "absent.onnx": r"absent.onnx: nothing is there; give a run's directory",
    }.items():
        with pytest.raises(ValueError, match=sentence) as caught:
            open_network(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_program_of_torch_that_is_not_ours_is_named(tmp_path: Path) -> None:
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "foreign.pt2", extra_files={DESCRIPTION: "{}"})
    with pytest.raises(ValueError, match=r"foreign\.pt2 was not written by `leyden export`"):
        open_network(tmp_path / "foreign.pt2")


def test_an_export_has_the_thresholds_of_its_run(tmp_path: Path) -> None:
    network = untrained(tmp_path / "run", "backbone.width=8", task="multi_label")
    logits = torch.tensor([18.0, -3.0])  # in single precision the first is a probability of 1
    network.classifier.test_metrics.thresholds.logits.copy_(logits)  # type: ignore[union-attr,operator]
    write(network, "safetensors", tmp_path / "out")
    export = open_network(tmp_path / "out")
    assert thresholds_of(export) == thresholds_of(network)
    outputs = torch.tensor([[19.0, 0.0], [17.0, -4.0]])
    found = quality(export, Answers(outputs, torch.ones(2, 2), torch.arange(2)), None)
    assert found.thresholds is not None
    torch.testing.assert_close(found.thresholds, logits)


def test_damaged_and_newer_directories_are_named(tmp_path: Path) -> None:
    network = untrained(tmp_path / "run", "backbone.width=8")
    write(network, "safetensors", tmp_path / "out")
    weights, config = (tmp_path / "out" / name for name in ("model.safetensors", "config.json"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be opened \(SafetensorError"):
        open_network(tmp_path / "out")
    weights.write_bytes(whole)
    told = json.loads(config.read_text(encoding="utf-8"))
    told["leyden"] |= {"format": 9, "leyden": "7.0"}
    config.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValueError, match=r"out has format 9, .* reads format 1: use version 7\.0, which wrote it"):
        open_network(tmp_path / "out")
    config.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="was not written by `leyden export`"):
        open_network(tmp_path / "out")


def test_a_checkpoint_that_an_export_has_not_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = untrained(tmp_path / "run", "backbone.width=8")
    write(network, "safetensors", tmp_path / "out")
    opened = open_network(tmp_path / "out", "last")
    assert "checkpoint=last is not used" in caplog.text
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    torch.testing.assert_close(opened.logits(images), network.logits(images))
