"""What comes in and what goes out, one module a subject."""
