"""The v1 API: messages, schema, requests, and their validation."""
