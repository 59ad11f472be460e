"""Bad input and trouble: each provoked for real."""
