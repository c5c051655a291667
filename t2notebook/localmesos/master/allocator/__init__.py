"""The embedded master's allocator."""
