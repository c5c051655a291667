"""Reducers: classes, functions and other objects taken apart for pickling, and put together again."""
