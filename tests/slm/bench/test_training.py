from slm.bench.contestants import names
from slm.bench.training import bench_training, table


def test_a_bench_names_every_contestant_and_its_ratios() -> None:
    report = bench_training("1M", row_tokens=700, rows=1, rounds=1)
    rates = report["tokens_per_second"]
    others = {"transformers_full"} if "transformers" in names() else set()
    full = {"full", "stock_full"} | others
    assert set(rates) == {"packed", "padded", "stock_padded"} | full
    assert all(rate > 0 for rate in rates.values())
    assert 0 <= report["packed_padding"] <= report["padded_padding"] < 1
    assert set(report["mfu"]) == full
    assert all(0 < share < 1.5 for share in report["mfu"].values())
    assert table(report).count("\n") == len(rates) + 1


def test_stock_and_ours_have_the_same_loss_on_the_same_rows() -> None:
    """What is timed side by side is the same work."""
    import torch

    from slm.bench.contestants import random_lm, stock_twin
    from slm.bench.training import _batches

    lm = random_lm("1M")
    net = stock_twin(lm).net
    for batch in _batches(lm, 400, 2)[1:]:
        targets = batch.tokens[:, 1:].masked_fill(batch.loss_weights[:, 1:] == 0, -1)
        with torch.no_grad():
            stock = torch.nn.functional.cross_entropy(
                net(batch.tokens[:, :-1]).transpose(1, 2), targets, ignore_index=-1
            )
            ours = lm.loss(
                batch.tokens,
                batch.loss_weights,
                positions=batch.positions,
                document_ids=batch.document_ids,
            )
        torch.testing.assert_close(stock, ours, atol=1e-4, rtol=1e-4)
