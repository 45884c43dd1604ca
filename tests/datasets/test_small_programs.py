import numpy as np
import pytest

from gainrl.datasets.small_programs import small_programs


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("small_programs"))
    return small_programs(steps=[2, 3, 4], train_per_level=20, held_out_per_level=10, seed=3, cache_dir=folder)


def program_of(problem):
    return problem.solution.removeprefix("```python\n").removesuffix("\n```")


def function_of(program):
    names = {}
    exec(program, names)
    return names["f"]


def test_the_tests_hold_for_the_worked_program_and_agree_with_the_words_of_the_question(splits):
    """The steps are computed here anew, from the question alone."""
    meaning = {
        "plus": lambda a, d: a + d,
        "minus": lambda a, d: a - d,
        "times": lambda a, d: a * d,
        "cap": lambda a, d: a if a < d else d,
        "floor": lambda a, d: a if a > d else d,
        "mod": lambda a, d: a - d * (a // d),
    }
    for problem in [*splits.train, *splits.held_out]:
        words = problem.question.split()
        function = function_of(program_of(problem))
        for argument in range(-50, 50):
            value = argument
            for name, digit in zip(words[1::3], words[2::3], strict=True):
                value = meaning[name](value, int(digit))
            assert function(argument) == value
        exec(problem.extra["tests"], {"f": function})


def test_the_tests_tell_apart_nearly_all_programs_that_mean_different_things(splits):
    """A program with one digit changed fails its tests wherever it differs on -50 to 50, but for few."""
    differ = passed = 0
    for problem in splits.train:
        program = program_of(problem)
        right = function_of(program)
        for place in (place for place, character in enumerate(program) if character.isdigit()):
            other = "2" if program[place] != "2" else "7"
            changed = function_of(program[:place] + other + program[place + 1 :])
            if all(changed(argument) == right(argument) for argument in range(-50, 51)):
                continue
            differ += 1
            try:
                exec(problem.extra["tests"], {"f": changed})
                passed += 1
            except AssertionError:
                pass
    assert differ > 100
    assert passed <= 0.02 * differ


def test_levels_have_the_steps_and_the_sizes_that_were_asked_for(splits):
    levels = splits.train.column("level")
    assert np.bincount(levels).tolist() == [0, 20, 20, 20]
    assert [len(problem.question.split()) // 3 for problem in splits.train] == (levels + 1).tolist()
    assert len(splits.held_out) == 30


def test_no_training_question_is_held_out_and_no_question_comes_twice(splits):
    train = [problem.question for problem in splits.train]
    held_out = [problem.question for problem in splits.held_out]
    assert len({*train, *held_out}) == len(train) + len(held_out)


def test_the_same_settings_give_the_same_problems_and_another_seed_others(tmp_path):
    def questions(folder, seed):
        made = small_programs(
            steps=[2, 3], train_per_level=9, held_out_per_level=5, seed=seed, cache_dir=str(tmp_path / folder)
        )
        return [problem.question for problem in made.train]

    assert questions("a", 7) == questions("b", 7)
    assert not set(questions("a", 7)) & set(questions("c", 8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": [3, 2]}, r"dataset.steps=\[3, 2\] must be growing"),
        ({"steps": []}, "must be growing"),
        ({"steps": [26]}, "from 1 to 25"),
        ({"train_per_level": 0}, "dataset.train_per_level=0 leaves no problems"),
        ({"steps": [1], "held_out_per_level": 48}, "level 1 has only 48 different questions and all are held out"),
    ],
)
def test_settings_that_leave_nothing_are_refused(tmp_path, settings, message):
    usual = {"steps": [2, 3], "train_per_level": 4, "held_out_per_level": 2, "cache_dir": str(tmp_path)}
    with pytest.raises(ValueError, match=message):
        small_programs(**usual | settings)
