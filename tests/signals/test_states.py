import numpy as np
import pytest

from gainrl.signals.activations import Tap
from gainrl.signals.angle import AngleSignal
from gainrl.signals.prefill import run_prefill
from gainrl.signals.states import QuestionStates
from tests.training.rig import sums, template_of, tiny_policy


def test_the_squared_length_of_a_question_s_state_is_its_concentration():
    policy = tiny_policy()
    problems = list(sums(12).train)
    prompts = template_of(policy).encode_all([problem.question for problem in problems])
    states = QuestionStates(Tap()).read(prompts, policy)
    intra = run_prefill([AngleSignal(inter=0.0)], problems, prompts, policy)[0]
    assert states.shape == (12, 16)
    assert np.square(states).sum(1) == pytest.approx(intra, rel=1e-5)
    alone = np.concatenate([QuestionStates(Tap()).read([prompt], policy) for prompt in prompts])
    assert states == pytest.approx(alone, abs=1e-6)
