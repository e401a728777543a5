"""A sample of what `python tests/damage.py` does by the thousand: no silent load, one kind of error, no hang, bounded memory."""

import pytest

from tests.damage import SORTS, WAYS, trial


@pytest.mark.parametrize("name", list(SORTS))
def test_damaged_files_load_equal_or_are_refused(name, tmp_path):
    count = 20 if name == "cifar" else 10 * len(WAYS)
    found = trial(name, count, seed=1, folder=str(tmp_path))
    assert sum(found[outcome] for outcome in ("same", "refused", "unseen")) == count, found["worst"]
    assert found["unseen"] == 0 or not SORTS[name].checksum
    assert (found["refused"] > count / 5) == SORTS[name].refuses
    assert found["seconds"] < 10 and found["megabytes"] < 200
