"""The longest texts, in characters, and the biggest numbers that are taken."""

MESSAGE_LENGTH = 5000
SUBJECT_LENGTH = 200
NAME_LENGTH = 100
IMAGE_LENGTH = 2000
CATEGORY_LENGTH = 100
CLIENT_MESSAGE_ID_LENGTH = 100
BIGGEST_SEQ = 2**31 - 1
