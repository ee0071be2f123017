"""Report by exception: passes a tag when it moved by more than its threshold, or was silent for too long."""
