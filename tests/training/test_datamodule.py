import io

import numpy as np
import pytest
import torch

from gainrl.datasets.splits import DataSplits
from gainrl.types import GroupOutcome
from tests.training.rig import data_of, module_of, sums


def test_a_batch_holds_the_problems_and_the_tokens_of_its_rows():
    module = module_of()
    data = data_of(module)
    batch = data.batch([3, 1])
    assert batch.rows.tolist() == [3, 1]
    assert [problem.id for problem in batch.problems] == ["train-3", "train-1"]
    for problem, prompt in zip(batch.problems, batch.prompts, strict=True):
        begin, end = prompt.question
        assert module.policy.tokenizer.decode(prompt.ids[begin:end]) == problem.question
    assert data.batch([]).prompts == []


def test_the_pool_knows_levels_difficulties_and_the_size_of_a_run():
    pool = data_of(module_of(), steps=5).pool
    assert pool.levels.tolist()[:4] == [1, 2, 3, 1]
    assert pool.difficulties.tolist()[:4] == [1.0, 2.0, 3.0, 1.0]
    assert (pool.size, pool.prompts_per_epoch, pool.total_steps) == (16, 8, 5)


def test_data_without_training_problems_or_with_too_few_is_refused():
    module = module_of()
    with pytest.raises(ValueError, match="no training problems"):
        data_of(module, splits=DataSplits(train=None, held_out=sums().held_out))
    with pytest.raises(
        ValueError, match=r"prompts_per_step=4 is more than the 3 training problems.*prompts_per_step=3"
    ):
        data_of(module, splits=sums(count=3))


def test_the_loader_has_no_workers():
    assert data_of(module_of()).train_dataloader().num_workers == 0


def test_a_restored_data_module_goes_on_where_the_other_one_stopped():
    data = data_of(module_of(), steps=6, epoch=3)
    data.bind(None)
    steps = iter(data.train_dataloader())
    first = next(steps)
    one = np.ones(4)
    data.pool.history.observe([GroupOutcome(int(row), 0, one, one > 0, one, one < 0, one > 0) for row in first.rows])
    data.pool.counters.step = 1  # the module's checkpoint holds it
    file = io.BytesIO()
    torch.save(data.state_dict(), file)
    file.seek(0)

    other = data_of(module_of(), steps=6, epoch=3)
    other.load_state_dict(torch.load(file, weights_only=True))
    other.bind(None)
    other.pool.counters.step = 1
    assert other.pool.history.visits.sum() == 4
    rest = [batch.rows.tolist() for batch in other.train_dataloader()]
    assert rest == [batch.rows.tolist() for batch in steps]
    assert len(rest) == 2
