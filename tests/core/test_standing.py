"""What holds for every run of the process."""

import pytest

from tta_notebook import WorkflowContext, configure, configured
from tta_notebook.core.standing import standing

A, B, C = object(), object(), object()


@pytest.fixture(autouse=True)
def _nothing_stays():
    yield
    configure(guards=[], prices=None, backends=None)
    assert standing.guards == ()


def test_a_run_has_its_own_guards_first_and_each_once():
    configure(guards=[B, A])
    assert WorkflowContext().using(guards=[A, C]).guards == (A, C, B)


def test_what_is_left_out_stays_as_it_is():
    configure(guards=[A], prices=B)
    configure(backends={"m": C})
    assert WorkflowContext().guards == (A,)
    assert WorkflowContext().prices is B
    assert WorkflowContext().backend("m") is C
    configure(prices=None)
    assert WorkflowContext().prices is None
    assert WorkflowContext().guards == (A,)


def test_a_run_says_otherwise_for_itself():
    configure(prices=A, backends={"*": A, "m": B})
    context = WorkflowContext().using(prices=C, backends={"m": C})
    assert context.prices is C
    assert context.backend("m") is C
    assert context.backend("other") is A


def test_what_came_by_itself_is_not_configured_away():
    standing.add(A)
    configure(guards=[B])
    configure(guards=[C])
    assert WorkflowContext().guards == (C, A)
    standing.remove(A)
    assert WorkflowContext().guards == (C,)


def test_a_block_ends_with_what_was_before_also_on_an_error():
    configure(guards=[A], prices=A)

    def inside():
        with configured(guards=[B], prices=B):
            assert WorkflowContext().guards == (B, A)
            standing.add(C)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        inside()
    assert WorkflowContext().guards == (A, C)
    assert WorkflowContext().prices is A
    standing.remove(C)


def test_a_part_of_a_run_may_have_prices_of_its_own():
    outer = WorkflowContext().using(prices=A)
    inner = outer.guarded_by(B, prices=C)
    assert (outer.prices, inner.prices, inner.guarded_by(A).prices) == (A, C, C)
    assert inner.shared.origin is outer.shared.origin is outer.shared
