import numpy as np
import pytest

from gainrl.curricula.pool import PromptPool
from gainrl.curricula.uniform import UniformCurriculum
from gainrl.training.datamodule import CurriculumSampler
from tests.training.rig import FollowSignal, data_of, module_of


def pool_of(**changes) -> PromptPool:
    sizes = {"size": 24, "prompts_per_step": 6, "steps_per_epoch": 3, "total_steps": 6, "group_size": 4}
    return PromptPool(**(sizes | changes))


def started(pool: PromptPool) -> UniformCurriculum:
    curriculum = UniformCurriculum()
    curriculum.start(pool, None, 0)
    return curriculum


def test_the_curriculum_is_asked_when_a_step_begins_and_not_before():
    module = module_of()
    curriculum = FollowSignal()
    curriculum.order, curriculum.place, curriculum.asked = np.arange(16), 0, []
    steps = iter(data_of(module, curriculum=curriculum, steps=4).train_dataloader())
    assert curriculum.asked == []
    assert next(steps).rows.tolist() == [0, 1, 2, 3]
    assert len(curriculum.asked) == 1
    curriculum.order = np.arange(16)[::-1]  # feedback of the first step turns the order round
    assert next(steps).rows.tolist() == [11, 10, 9, 8]
    assert len(curriculum.asked) == 2


def test_a_refill_excludes_all_rows_of_the_step():
    sampler = CurriculumSampler(started(pool_of()), pool_of())
    rows = next(iter(sampler))
    for wanted in (3, 4):  # one refill after the other
        rows = rows + sampler.refill(wanted)
    assert len(set(rows)) == len(rows) == 6 + 3 + 4
    assert sampler.left == 24 - 13


@pytest.mark.parametrize(("done", "left"), [(0, 3), (1, 2), (3, 3), (5, 1)])
def test_an_interrupted_epoch_goes_on_with_its_next_step(done, left):
    pool = pool_of()
    pool.counters.step = done
    assert len(list(CurriculumSampler(started(pool), pool))) == left
