"""The rules of the chat. No module here knows Flask; the JSON API, the console and the
commands call the same functions."""
