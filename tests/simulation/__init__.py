"""Whole clusters in one thread under one printed seed: the product's own manager and workers, for hours.

`virtual_time` is the loop whose clock jumps; `nodes` and `orders` are machines with a memory of what was
really done to them; `network` carries orders that outlive whoever sent them; `replicas` are processes that
crash; `faults` and `operators` are what happens to all of it; `laws` is what must hold whatever happens;
`world` puts it together, `figures` counts what was really exercised. `python -m tests.simulation` runs it.
"""
