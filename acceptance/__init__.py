"""The customer's checklist as a program, `verify`. It imports nothing of the product.

It talks to a running instance over HTTP, asks the database that MONGO_URI names, and runs the
product's own commands (`python -m flask ...`) as processes.
"""
