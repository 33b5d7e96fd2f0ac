"""What `flask verify` checks, by the parts of the customer's checklist."""
