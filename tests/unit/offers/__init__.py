"""Offer evaluation."""
