"""A training on a page: it says how far it is, and an interrupt ends the cell."""

import signal
from unittest import mock

import pytest
from jupyter_client.manager import start_new_kernel

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
    assert len(course.train(trainer)) == 6 and seen == [0, 1, 2]


def test_a_second_run_of_a_cell_trains_no_further_and_shows_what_there_is(trainer, capsys):
    seen = []
    course.train(trainer, 4)
    assert not course.at_its_end(trainer) and "iteration 4 of 6" in capsys.readouterr().out
    course.train(trainer, 4, callback=lambda trainer: seen.append(len(trainer.history)))
    assert trainer.iteration == 4 and seen == [4]  # the curves are drawn, not "no values yet"
    assert "at iteration 4 of 6" in capsys.readouterr().out
    course.train(trainer, 2)
    assert trainer.iteration == 4
    course.train(trainer)
    assert course.at_its_end(trainer)


def test_an_interrupt_ends_the_cell_and_a_second_run_goes_on(trainer, capsys):
    def press(trainer):
        if trainer.iteration == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="iteration 3 of 5"):
        course.train(trainer, 5, callback=press)
    said = capsys.readouterr()
    assert said.err == "" and "iteration 3" in said.out  # stderr is red on a page
    assert len(course.train(trainer, 5)) == 5


def test_an_interrupt_shows_no_red_and_stops_run_all():
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        def run(code, **options):
            """What the cell puts on the page, and its reply."""
            outputs = []
            reply = client.execute_interactive(code, output_hook=outputs.append, timeout=120, **options)
            shown = [message for message in outputs if message["msg_type"] in ("stream", "error", "display_data")]
            texts = [(m["msg_type"], m["content"].get("name"), m["content"].get("text")) for m in shown]
            return texts, reply["content"]

        assert run("import laseg_lib.course") == ([], mock.ANY)
        shown, reply = run("raise KeyboardInterrupt('stopped after iteration 3 of 6')")
        assert reply["status"] == "error" and reply["ename"] == "KeyboardInterrupt"  # so no further cell runs
        (kind, stream, text), = shown
        assert (kind, stream) == ("stream", "stdout") and "stopped after iteration 3 of 6" in text
        shown, reply = run("1 / 0")
        assert [kind for kind, *_ in shown] == ["error"]  # a mistake is red as before
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
