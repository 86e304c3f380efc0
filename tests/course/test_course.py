"""A training on a page: it says how far it is, and an interrupt ends the cell."""

import signal

import pytest

from laseg_lib import course
from laseg_lib.config import TrainConfig
from laseg_lib.training import Trainer


@pytest.fixture
def trainer(phantom_root):
    return Trainer(TrainConfig(root_path=str(phantom_root), patch_size=(32, 32, 16), n_filters=2, has_dropout=False,
                               labelnum=2, max_samples=6, val_num=0, labeled_bs=1, batch_size=2, precision="fp32",
                               device="cpu", max_iterations=6))


def test_a_training_goes_as_far_as_asked(trainer):
    seen = []
    assert len(course.train(trainer, 2, callback=lambda trainer: seen.append(trainer.iteration))) == 2
    assert len(course.train(trainer)) == 6 and seen == [1, 2]


def test_an_interrupt_ends_the_cell_and_a_second_run_goes_on(trainer):
    def press(trainer):
        if trainer.iteration == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="iteration 3"):
        course.train(trainer, callback=press)
    assert len(course.train(trainer)) == 6
