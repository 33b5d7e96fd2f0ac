"""`python -m acceptance`: what `flask verify` runs."""

from acceptance.verify import verify

verify()
