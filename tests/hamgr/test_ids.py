from hamgr.ids import id_maker
from statemachine.words import REQUEST_ID


def test_ids_of_two_processes_never_meet_and_are_fit_for_requests():
    made = [make() for make in (id_maker(), id_maker()) for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert all(REQUEST_ID.match(one) and len(one) == 32 for one in made)
