"""How machines become replicas."""
