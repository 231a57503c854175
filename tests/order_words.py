"""Orders and words about them for tests: made short, and drawn by hypothesis."""

from hypothesis import strategies as st

from pipeline.amounts import ZERO, amount
from pipeline.messages import Order
from pipeline.vocabulary import Evidence, OrderKind, OrderState, Pending, Side, TimeInForce

QUANTITY = amount(10)


def order(state=OrderState.Open, filled=0, cid="c-1", **more):
    fields = {
        "instrument": 0,
        "cid": cid,
        "engine": "mm",
        "venue_cid": None,
        "id": None,
        "side": Side.BUY,
        "kind": OrderKind.LIMIT,
        "time_in_force": TimeInForce.GTC,
        "flags": 0,
        "price": amount(100),
        "quantity": QUANTITY,
        "filled": amount(filled) if filled else ZERO,
        "state": state,
    }
    return Order(**(fields | more))


STATES = st.sampled_from(list(OrderState))
EVIDENCE = st.sampled_from(list(Evidence))
FILLS = st.integers(0, 12)

orders = st.builds(
    order,
    state=STATES,
    filled=FILLS,
    engine=st.sampled_from(["", "mm"]),
    id=st.sampled_from([None, "v-1"]),
    venue_cid=st.sampled_from([None, "ow1"]),
    quantity=st.sampled_from([QUANTITY, amount(5), amount(12)]),
    pending=st.sampled_from(list(Pending)),
)
words = st.tuples(orders, EVIDENCE)
