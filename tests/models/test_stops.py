from types import SimpleNamespace

import pytest

from gainrl.models.stops import choose_pad, end_of_turn, find_stops
from tests.models.tiny_folders import hub, save_tiny
from tests.tokenizers_in_code import CHATML, LLAMA3, NO_SYSTEM_ROLE, byte_tokenizer


def model_with(generation=None, config=None):
    return SimpleNamespace(
        generation_config=SimpleNamespace(eos_token_id=generation), config=SimpleNamespace(eos_token_id=config)
    )


def test_stops_are_gathered_from_generation_settings_model_tokenizer_and_chat_template():
    tokenizer = byte_tokenizer(CHATML)
    eos, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|endoftext|>", "<|im_end|>"))
    assert find_stops(tokenizer, model_with([3, 5], 7)) == (3, 5, 7, eos, end)
    assert find_stops(tokenizer, model_with(), extra=["a"])[0] == tokenizer.convert_tokens_to_ids("a")


@pytest.mark.parametrize(
    ("template", "token"), [(CHATML, "<|im_end|>"), (LLAMA3, "<|eot_id|>"), (NO_SYSTEM_ROLE, "<|im_end|>")]
)
def test_the_end_of_a_turn_is_read_off_the_chat_template(template, token):
    tokenizer = byte_tokenizer(template)
    assert tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)) == token


@pytest.mark.parametrize("template", [None, "{% for m in messages %}{{ m.content }}\n{% endfor %}"])
def test_templates_without_an_end_token_give_none(template):
    assert end_of_turn(byte_tokenizer(template)) is None


def test_a_model_without_any_end_token_asks_for_one():
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match=r"model\.stop_tokens"):
        find_stops(tokenizer, model_with())


def test_a_pad_that_is_also_the_end_of_text_is_replaced(tmp_path):
    tokenizer = byte_tokenizer(CHATML)
    tokenizer.pad_token = tokenizer.eos_token
    policy = hub(source=save_tiny(tmp_path, "qwen2", tokenizer=tokenizer))
    assert policy.tokenizer.eos_token_id in policy.stop_ids
    assert policy.pad_id not in policy.stop_ids


def test_a_pad_of_its_own_is_kept():
    tokenizer = byte_tokenizer(CHATML)
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    assert choose_pad(tokenizer, [0, 1]) == tokenizer.pad_token_id


def test_a_reserved_padding_token_is_found_where_none_is_named():
    tokenizer = byte_tokenizer(CHATML)
    tokenizer.add_tokens("<|finetune_right_pad_id|>", special_tokens=True)
    stops = find_stops(tokenizer, model_with())
    assert tokenizer.convert_ids_to_tokens(choose_pad(tokenizer, stops)) == "<|finetune_right_pad_id|>"


def test_without_any_special_token_left_the_first_other_token_pads():
    tokenizer = byte_tokenizer()
    specials = [i for i, token in tokenizer.added_tokens_decoder.items() if token.special]
    assert choose_pad(tokenizer, [0, *specials]) == 1
