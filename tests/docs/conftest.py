"""The section of a document that a test is named after. Its module has all of the document's blocks, as `BLOCKS`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.support import Topic, name_of_test


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """Return the folder that blocks are run in; a module may have its own."""
    return tmp_path


@pytest.fixture
def topic(request: pytest.FixtureRequest, workplace: Path) -> Iterator[Topic]:
    """Give a test the section that it is named after; fail it if it leaves a block."""
    blocks = [block for block in request.module.BLOCKS if name_of_test(block.heading) == request.node.originalname]
    assert blocks, f"no section has the name of {request.node.originalname}"
    found = Topic(blocks, workplace)
    yield found
    assert not found.left, f"not run: {', '.join(map(str, found.left))}"
