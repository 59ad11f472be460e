"""A small real application, and a site of it to upgrade."""
