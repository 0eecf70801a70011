"""Loops of one's own, through `epochwidget.Run`."""

from __future__ import annotations

import time

import numpy as np
import torch

import epochwidget as ew

from . import contract


def test_a_plain_pytorch_loop_keeps_the_contract() -> None:
    """A PyTorch loop gives the one right sequence; its epoch means are over the samples."""
    bus = contract.Recorder()
    net = torch.nn.Linear(3, 1)
    torch.nn.init.zeros_(net.weight)
    torch.nn.init.zeros_(net.bias)
    optimizer = torch.optim.SGD(net.parameters(), lr=contract.FIRST_RATE)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, contract.DECAY)
    data = torch.utils.data.TensorDataset(torch.from_numpy(contract.X), torch.from_numpy(contract.Y))
    loader = torch.utils.data.DataLoader(data, batch_size=contract.BATCH_SIZE)
    with ew.Run("loop", bus=bus) as run:
        for _ in run.epochs(contract.EPOCHS):
            for x, y in run.batches(loader):
                loss = torch.nn.functional.mse_loss(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log(loss=loss, lr=optimizer, batch_size=len(x))
                scheduler.step()
            with torch.no_grad():
                prediction = net(torch.from_numpy(contract.X_VAL))
            run.log_epoch(val_loss=torch.nn.functional.mse_loss(prediction, torch.from_numpy(contract.Y_VAL)))
    contract.check(bus)


def test_watching_a_loop_changes_no_weight() -> None:
    """With the same seed the weights are bit for bit those of the loop that nobody watches."""

    def train(run: ew.Run | None) -> np.ndarray:
        torch.manual_seed(3)
        net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 1))
        optimizer = torch.optim.Adam(net.parameters())
        for _ in range(20):
            loss = net(torch.randn(4, 8)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if run is not None:
                run.log(loss=loss, lr=optimizer)
        return torch.cat([parameter.detach().flatten() for parameter in net.parameters()]).numpy()

    widget = ew.EpochWidget(bus=ew.Bus())
    with ew.Run("watched", bus=widget._bus) as run:
        watched = train(run)
    widget.close()
    assert np.array_equal(watched, train(None))


def test_several_parameter_groups_have_a_learning_rate_each() -> None:
    """The rates of a PyTorch optimizer's further groups are series of their own on the same panel."""
    first, second = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([{"params": [first], "lr": 0.1}, {"params": [second], "lr": 0.2}])
    with ew.Run("groups", bus=ew.Bus(strict=True)) as run:
        run.log(lr=optimizer)
    assert {name: run.history.batch[name].tolist() for name in run.history.batch} == {"lr": [0.1], "lr_1": [0.2]}
    assert {run.history.batch.series(name).metric for name in run.history.batch} == {"learning rate"}


def test_the_time_that_validation_takes_is_told(bus: ew.Bus) -> None:
    with ew.Run("a", bus=bus) as run:
        for _ in run.epochs(3):
            for _ in run.batches(range(4)):
                time.sleep(0.01)
                run.log(loss=1.0)
            time.sleep(0.05)
            run.log_epoch(val_loss=1.0)
    assert 0.15 <= run.history.validating < run.history.elapsed - 0.12
