"""The simulated exchange: one account's matching engine against a market model, behind messages."""
