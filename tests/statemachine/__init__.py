"""The proof of the state machine: its rules as sentences, and its invariants under arbitrary commands."""
