"""What a fine-tune begins with and does, as a table."""

from collections.abc import Callable

from leyden.transfer_table import as_text
from running import FinishedRun

Train = Callable[..., FinishedRun]


def test_table_of_a_run_with_weights_is_printed_and_kept(train_run: Train, capfd) -> None:
    first = train_run("epochs=1", "backbone=cnn", "backbone.widths=[4,4]")
    assert "transfer" not in first.record
    second = train_run(
        "epochs=1", "backbone=cnn", "backbone.widths=[4,4]", f"weights={first.directory}", "finetune.batch_norm=eval"
    )
    told = second.record["transfer"]
    assert as_text(told) in capfd.readouterr().out
    assert told["weights"] == f"{first.directory}/checkpoints/best.ckpt: 18 tensors, none missing"
    assert told["batch norm"] == "0 take the statistics of the batch, 3 keep theirs"
    assert told["layers"] == "0 of 3 frozen; learning rates 1 times optimizer.lr"
    assert told["images"].startswith("8 of 8 pixels, mean 0.3")
