"""For the tests of backends, frameworks and agents: builders, clocks, and the contract of stores.

Shipped, so that a backend or an instrumentor outside this package is proven by the same suite. Only
`store_contract` needs pytest.
"""
