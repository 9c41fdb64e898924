"""Messages are one line, of bounded length, whatever they quote."""

from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.errors import LONGEST, InputError, abridged


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(st.text(st.sampled_from("ab \n"), max_size=5000), min_size=4, max_size=4))
def test_a_message_is_one_line_and_shortens_what_it_quotes(parts):
    message = str(InputError(*parts))
    assert "\n" not in message and len(message) < 4 * (LONGEST + 40)
    for part in parts:
        if len(part) < LONGEST and "\n" not in part:
            assert part in message


def test_both_ends_of_a_long_text_are_shown():
    text = abridged("begin" + "x" * 20_000 + "end")
    assert text.startswith("begin") and text.endswith("xend (20,008 characters)")
    assert abridged("short") == "short"


def test_the_command_line_shortens_what_it_quotes(paratime):
    for words in (
        ("--prompts", "x" * 20_000),
        (f"--{'x' * 20_000}", "1"),
        ("--samples", "x" * 9999),
    ):
        status, _, error = paratime("language", "generate", "--ckpt_path", "none.ckpt", *words)
        assert status == 2 and error.count("\n") == 1 and len(error) < 2000
