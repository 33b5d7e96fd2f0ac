"""The values that fields of chats, users and messages can have."""

OPEN_STATUSES = ("active", "pending")
CLOSED_STATUSES = ("closed", "archived")
STATUSES = OPEN_STATUSES + CLOSED_STATUSES
PRIORITIES = ("low", "medium", "high", "urgent")
DEFAULT_CATEGORY = "general"

ROLES = ("user", "admin", "guest")
SENDER_ROLES = (*ROLES, "system")
