"""Bytes between replicas: frames over mutual TLS, from members only. Nothing here knows what they mean."""
