import pickle

import pytest

from vjepa_gym.errors import InvalidActionError, UnknownNameError, VJEPAGymError


def test_an_unknown_name_is_answered_with_what_exists_and_the_nearest():
    error = UnknownNameError("behaviour", "scriptd", ["noisy", "scripted", "play"])
    assert str(error) == (
        "Unknown behaviour 'scriptd'. Did you mean 'scripted'? Available: noisy, play, scripted."
    )


def test_a_name_like_no_other_gets_no_suggestion():
    assert "Did you mean" not in str(UnknownNameError("task", "zzz", ["reach"]))


def test_errors_can_be_caught_as_what_python_calls_them():
    with pytest.raises(KeyError):
        raise UnknownNameError("task", "zzz", ["reach"])
    with pytest.raises(ValueError, match="seven"):
        raise InvalidActionError("seven numbers")
    assert issubclass(UnknownNameError, VJEPAGymError)


def test_an_unknown_name_crosses_processes_with_its_message():
    error = UnknownNameError("job", "evalute", ["demo", "evaluate"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
