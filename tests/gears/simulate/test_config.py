"""What simulate refuses in its configuration."""

import pytest
from pydantic import ValidationError

from gears.simulate.config import Config


@pytest.mark.parametrize(
    ("values", "mend"),
    [
        ({"tags": {"seq": 1}}, "choose another name"),
        ({"tags": {"a": {"wave": "sine", "low": 2, "high": 1}}}, "swap them"),
        ({"rate": 0}, "greater than 0"),
        ({"rate": "fast"}, "'max'"),
        ({"count": 0}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_named_with_the_mend(values, mend):
    """Each fault says what to do."""
    with pytest.raises(ValidationError, match=mend):
        Config.model_validate(values)
