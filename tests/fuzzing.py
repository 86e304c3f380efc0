"""What the fuzz tests share: how hypothesis runs, a folder that nothing may leave, and values of any kind."""

import copy
import faulthandler

import pytest
import torch
from children import tiny_config
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from laseg_lib.data import phantom
from laseg_lib.training import Trainer


def fuzz(count):
    return settings(max_examples=count, derandomize=True, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def no_input_hangs():
    faulthandler.dump_traceback_later(900, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to work in; the tests look that nothing is written beside it."""
    place = tmp_path_factory.mktemp("fuzz") / "inside"
    place.mkdir()
    yield place
    assert [path.name for path in place.parent.iterdir()] == ["inside"]


@pytest.fixture(scope="module")
def root(place):
    return phantom.write_phantoms(place / "data", train=8, test=1, size=(24, 20, 12), seed=0)


@pytest.fixture(scope="module")
def trained(root, place):
    """A trainer and the state of its checkpoint after one iteration."""
    trainer = Trainer(tiny_config(root, val_num=0))
    trainer.run(1, progress=False)
    return trainer, copy.deepcopy(trainer.state_dict())


values = st.one_of(st.none(), st.booleans(), st.integers(-2**70, 2**70), st.floats(), st.text(max_size=5), st.just([]),
                   st.just({}), st.lists(st.integers(-3, 300), max_size=3), st.builds(
                       lambda shape: torch.ones(shape), st.lists(st.integers(0, 3), max_size=5)))
