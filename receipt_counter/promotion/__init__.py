"""Promotion: which runs become a version in the store's registry, and why not."""
