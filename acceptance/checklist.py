"""The customer's deployment checklist, item by item, in its own words and order.

An item has a check, or it says what a person has to look at. docs/checklist.md says of each
how it is true here.
"""

from __future__ import annotations

from dataclasses import dataclass

from acceptance import access, answers, attacks, chat, code, console, stored
from acceptance.run import Check


@dataclass(frozen=True)
class Item:
    """One box to tick: a check, or what a person confirms."""

    title: str
    check: Check | None = None
    confirm: str = ""


@dataclass(frozen=True)
class Section:
    """A heading of the checklist with its items."""

    title: str
    items: tuple[Item, ...]


LOOK = "look at it in a browser"
# Tests with Chromium do the same; docs/checklist.md names them.
BROWSER = f"{LOOK} (make test does, too)"
CHECKLIST = (
    Section(
        "1. Code Quality & Security",
        (
            Item("All files compile without errors", code.files_compile),
            Item("No console errors or warnings in development", confirm=BROWSER),
            Item("No sensitive data in code (passwords, keys, tokens)", code.no_secret_in_code),
            Item("Authorization checks in all API routes", access.documented_routes_refuse),
            Item("Input validation on all API endpoints", answers.inputs_validated),
            Item(
                "SQL injection / NoSQL injection prevention (Mongoose schemas)", attacks.injection
            ),
            Item("CORS configured correctly", attacks.cors),
            Item("Environment variables not hardcoded", code.settings_from_environment),
        ),
    ),
    Section(
        "2. Database Preparation",
        (
            Item("MongoDB Atlas or production database set up", stored.doctor("database")),
            Item("Connection string in `.env.local` verified", stored.doctor("connection")),
            Item("Collections created:", stored.doctor("collections")),
            Item("`users` (NextAuth)", stored.collection("users")),
            Item("`chatrooms` (chat system)", stored.collection("chatrooms")),
            Item("Indices created on production database:", stored.all_indexes),
            Item(
                "Database backups configured",
                confirm="that `flask backup` or mongodump runs every day, and where to",
            ),
            Item("Connection pooling configured", stored.doctor("pool")),
        ),
    ),
    Section(
        "3. Authentication & Authorization",
        (
            Item(
                "NextAuth.js configured with production providers",
                confirm="that signing in by e-mail and password, and as a guest, is what you want",
            ),
            Item("NEXTAUTH_SECRET set to secure random value", attacks.secret_key),
            Item("NEXTAUTH_URL matches production domain", attacks.public_url),
            Item("Session validation working for all roles (user, admin)", access.roles),
            Item("Role-based access control tested:", access.agents_only_refuse),
            Item("Users can only access their own chats", access.others_chats),
            Item("Admins can access all chats", access.agents_see_all),
            Item(
                "Users cannot modify status/priority/category",
                access.users_cannot_change("status", "priority", "category"),
            ),
            Item("Only admins can assign chats", access.only_agents_assign),
        ),
    ),
    Section(
        "4. API Route Testing: Chat Creation (POST /api/chat)",
        (
            Item("User can create new chat", chat.user_creates),
            Item("Chat created with correct default values", chat.defaults),
            Item("User cannot create duplicate active chats", chat.no_second_chat),
            Item("Required fields validation working", chat.required_fields),
        ),
    ),
    Section(
        "4. API Route Testing: Chat Retrieval (GET /api/chat)",
        (
            Item("Admin gets all chats", chat.agent_gets_all),
            Item("User gets only their chats", chat.user_gets_own),
            Item("Results sorted by lastMessageAt correctly", chat.sorted_by_last_message),
            Item("Pagination ready (if needed)", chat.pagination),
        ),
    ),
    Section(
        "4. API Route Testing: Messaging (PATCH /api/chat/[id])",
        (
            Item("Message added to chat", chat.message_added),
            Item("User role message metadata correct", chat.sender_of("user")),
            Item("Admin role message metadata correct", chat.sender_of("agent")),
            Item("lastMessageAt timestamp updated", chat.last_message_at),
            Item("isRead flag working", chat.is_read),
        ),
    ),
    Section(
        "4. API Route Testing: Status Update (PATCH /api/chat/[id])",
        (
            Item("Status changes to valid values only", chat.valid_statuses_only),
            Item("Only admins can change status", access.users_cannot_change("status")),
            Item("Chat becomes readonly when closed", chat.closed_is_readonly),
        ),
    ),
    Section(
        "4. API Route Testing: Assignment (PATCH /api/chat/[id])",
        (
            Item("Admin can be assigned to chat", chat.assignment),
            Item("Admin name and image populated", chat.assigned_name),
            Item("Assignment visible to both user and admin", chat.assignment_visible),
        ),
    ),
    Section(
        "5. Frontend Components: User Chat Component",
        (
            Item("Chat list displays correctly", confirm=BROWSER),
            Item("New chat dialog works", confirm=BROWSER),
            Item("Message sending functional", confirm=BROWSER),
            Item("Message history scrolls to bottom", confirm=BROWSER),
            Item("Loading states display", confirm=LOOK),
            Item("Error messages appear", confirm=BROWSER),
            Item("Avatar fallback working", confirm=BROWSER),
            Item("Responsive on mobile devices", confirm=BROWSER),
        ),
    ),
    Section(
        "5. Frontend Components: Admin Chat Component",
        (
            Item("All chats visible in table", console.all_chats),
            Item("Status filter working", console.filtered("status", "active", "closed")),
            Item("Priority filter working", console.filtered("priority", "medium", "low")),
            Item("Category filter working", console.category_filter),
            Item("Chat selection loads history", console.history),
            Item("Status dropdown updates chat", console.status_menu),
            Item("Assignment functionality works", console.assign),
            Item("Unread message count accurate", console.unread),
            Item("Real-time updates via polling (every 3 seconds)", console.polls),
        ),
    ),
    Section(
        "6. UI/UX Verification",
        (
            Item("No layout shifts or hydration warnings", confirm=LOOK),
            Item("Avatars display with proper fallbacks", confirm=BROWSER),
            Item("Status/Priority color coding correct", confirm=BROWSER),
            Item("Timestamps display correctly", confirm=BROWSER),
            Item("Buttons are properly enabled/disabled", confirm=BROWSER),
            Item("Form validation messages clear", confirm=BROWSER),
            Item("Toast notifications appear for actions", confirm=BROWSER),
            Item("Loading spinners display during API calls", confirm=LOOK),
            Item("No console errors in browser", confirm=BROWSER),
            Item("Responsive design tested on:", confirm=BROWSER),
            Item("Desktop (1920x1080)", confirm=BROWSER),
            Item("Tablet (768x1024)", confirm=BROWSER),
            Item("Mobile (375x667)", confirm=BROWSER),
        ),
    ),
    Section(
        "7. Performance Checks",
        (
            Item("API response times < 500ms (99th percentile)", answers.response_times),
            Item("Initial page load < 3 seconds", console.first_load),
            Item("Chat list renders smoothly with 100+ chats", confirm=BROWSER),
            Item("Messages scroll smoothly with 1000+ messages", confirm=LOOK),
            Item(
                "No memory leaks (monitoring for 10 minutes)",
                confirm="in your monitoring: the memory of the workers, for ten minutes under load",
            ),
            Item("Polling doesn't cause excessive CPU usage", answers.cheap_polls),
            Item("Database queries optimized (using indices)", stored.doctor("plans")),
        ),
    ),
    Section(
        "8. Security Testing",
        (
            Item("Authentication required for all routes", access.all_routes_refuse),
            Item("User cannot access other user's chats", access.others_chats),
            Item(
                "User cannot change chat properties (status, priority)",
                access.users_cannot_change("status", "priority"),
            ),
            Item("Session hijacking attempts blocked", attacks.hijacking),
            Item("XSS protection enabled (Next.js default)", attacks.headers),
            Item("CSRF tokens working (if needed)", attacks.csrf),
            Item("Rate limiting considered for API", attacks.rate_limits),
            Item("Sensitive data not logged", answers.nothing_secret_logged),
        ),
    ),
    Section(
        "9. Error Handling",
        (
            Item("Missing required fields handled gracefully", chat.required_fields),
            Item("Invalid database IDs return 404", answers.wrong_ids),
            Item("Database connection errors caught", answers.outage),
            Item("Session timeout handled gracefully", access.timeout),
            Item("User receives helpful error messages", answers.helpful),
            Item("Admin receives detailed error info", answers.detailed_for_agents),
            Item("No server errors exposed to client", answers.nothing_exposed),
            Item("All catch blocks have logging", answers.failures_logged),
        ),
    ),
    Section(
        "10. Documentation",
        (
            Item("README updated with chat feature", code.written("README.md", about="chat")),
            Item("API documentation complete", code.api_documented),
            Item("Setup guide written", code.written("docs/deployment.md", about="make run")),
            Item(
                "Troubleshooting guide included",
                code.written("docs/troubleshooting.md", about="what to do"),
            ),
            Item(
                "Architecture diagram provided",
                code.written("docs/architecture.md", about="chatapi.services"),
            ),
            Item("Testing guide documented", code.written("docs/testing.md", about="make test")),
            Item(
                "Deployment guide documented",
                code.written("docs/deployment.md", about="in production"),
            ),
        ),
    ),
    Section(
        "Deployment Phase: 5. Smoke Tests (Post-Deploy)",
        (
            Item("Chat creation returns 201", chat.smoke_create),
            Item("Admin chat list returns 200", chat.smoke_list),
            Item("Message sending returns 200", chat.smoke_send),
        ),
    ),
    Section(
        "Deployment Phase: 6. Production Data Validation",
        (
            Item("Chats can be created in production", chat.user_creates),
            Item("Messages persist correctly", chat.persists),
            Item("Status updates reflect immediately", chat.status_at_once),
            Item("Filtering works correctly", chat.filtering),
            Item("Real-time updates work (polling)", chat.polling),
            Item("No data corruption", stored.doctor("consistency")),
            Item("User/Admin separation maintained", chat.separation),
        ),
    ),
    Section(
        "Sign-Off Checklist",
        tuple(
            Item(f"{who}: {what}", confirm="their signature")
            for who, what in (
                ("Project Manager", "Feature ready for production"),
                ("Development Team", "Code reviewed and tested"),
                ("QA Team", "All tests passed"),
                ("DevOps Team", "Infrastructure ready"),
                ("Security Team", "Security review completed"),
                ("Database Team", "Database configured and backed up"),
                ("Support Team", "Documentation and training complete"),
            )
        ),
    ),
)
