"""What every layer may know: errors, time, cursors, spelling, networks. No Flask, no database."""
