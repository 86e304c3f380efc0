"""What notebook 10 shows is what was recorded: fine voxels, and the Dice that the record holds."""

import json

import pytest

from laseg_lib.course import CourseData
from laseg_lib.course import nb10_atria_in_3d as nb10
from laseg_lib.metrics import dice_of

PHANTOMS = CourseData(None, False, {})


@pytest.mark.parametrize("number", range(4))
def test_the_scene_is_the_records(number):
    told = json.loads((nb10.SCENE / "config.json").read_text(encoding="utf-8"))
    assert told["config"] == json.loads(json.dumps(nb10.SCENE_SETTINGS)) and not told["changed"]
    atrium = nb10.predicted_atrium(PHANTOMS, number=number)
    assert all(have >= least for have, least in zip(atrium.gold.shape, (64, 48, 32)))
    for arm, mask in atrium.predictions.items():
        assert dice_of(mask, atrium.gold) == pytest.approx(told["dice"][f"{arm}/0/{atrium.case}"], abs=1e-4)


def test_another_case_is_another_picture_with_its_scores():
    draw = nb10.draw_case(PHANTOMS)
    first, second = (draw(number=number).get_suptitle() for number in (0, 1))
    assert first.startswith("PHANTOM_0044") and second.startswith("PHANTOM_0045") and "mean teacher 0." in first
