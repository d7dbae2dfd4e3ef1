"""The exit statuses of every command."""

HELD = 0  # everything asked for was done, and every verdict is true
FAILED = 1  # a verdict is not true
UNUSABLE = 2  # the arguments say nothing that can be done
