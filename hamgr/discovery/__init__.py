"""Machines that say themselves that they are there; what comes of it is a discovery, as of any address."""
