"""What is kept of what was said: the latest, and no more of it than anybody says, whatever a service makes of it."""

from smartflo_bridge.agents.briefing import MAX_CHARACTERS, MAX_SAID, remember
from smartflo_bridge.agents.events import Transcript


def test_the_latest_is_kept_and_no_megabyte_of_it():
    """In its order, with who said it."""
    said: list[Transcript] = []
    for number in range(MAX_SAID + 5):
        said = remember(said, Transcript(is_caller=number % 2 == 0, text=str(number)))
    said = remember(said, Transcript(is_caller=False, text="y" * (1 << 20)))
    assert len(said) == MAX_SAID
    assert said[0] == Transcript(is_caller=True, text="6")
    assert said[-1] == Transcript(is_caller=False, text="y" * MAX_CHARACTERS)
