"""Stories begin with a cluster of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.consensus.story import Story
from tests.consensus.world import Plan, World, small_pieces


@pytest.fixture
def tell_story(tmp_path: Path) -> Iterator[Callable[..., Story]]:
    """Return a function that begins a story; the same seed is the same story."""
    with ExitStack() as stack:
        stack.enter_context(small_pieces())

        def begin(seed: int = 1, *, leader: str = "a", **plan: object) -> Story:
            folder = tmp_path / str(seed)
            story = Story(World(seed, folder, Plan(**plan)))
            stack.callback(story.world.close)
            story.begin(leader)
            return story

        yield begin
