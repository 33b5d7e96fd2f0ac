"""The maximum lengths of texts, in characters, and the maximum numbers."""

MAX_MESSAGE_LENGTH = 5000
MAX_SUBJECT_LENGTH = 200
MAX_NAME_LENGTH = 100
MAX_IMAGE_LENGTH = 2000
MAX_CATEGORY_LENGTH = 100
MAX_CLIENT_MESSAGE_ID_LENGTH = 100
MAX_SEARCH_LENGTH = 200
MAX_DEVICE_TOKEN_LENGTH = 2000
MAX_ID_LENGTH = 100  # of an id as it is sent, before it is looked at

MAX_PAGE_LENGTH = 200  # the most messages on a page, and chats in a bulk change
MAX_SEQ = 2**31 - 1
